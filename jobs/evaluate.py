"""A checkpoint on a split of a data set: average precision of every class, means, top-1 and top-5, calibration.

Examples:
  python jobs/evaluate.py checkpoint=out/train/checkpoints/best.safetensors data=out/materialize/dataset output=out/eval
  ml-images evaluate checkpoint=C data=D output=O "image_sizes=[224,299]" crops=10
  horovodrun -np 8 python jobs/evaluate.py checkpoint=C data=D output=O split=test

Each rank scores its share of the rows; no rank ever holds all scores. Pictures are cut out and normalised as the run
that wrote the checkpoint evaluated them. ImageNet's top-1 and top-5 are single_label in report.json.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import torch

from ml_images import config, entry
from ml_images.errors import InputError
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.storage import tables
from ml_images.storage.paths import join, resolve
from ml_images.train.class_names import find_names_of_labels
from ml_images.train.comm import Comm, RanksLost, open_comm
from ml_images.train.data import DataConfig
from ml_images.train.dataset import Split, read_split
from ml_images.train.rank_0 import said_by_rank_0
from ml_images.train.reader import BadImages
from ml_images.train.trained import Trained, choose_device, load_trained
from ml_images.train.trained_evaluation import class_facts, evaluate_trained, per_class_table, summarise
from ml_images.train.views import check_crops


@dataclass(frozen=True)
class Job:
    checkpoint: str = option(help="a file that train.py wrote, e.g. RUN/checkpoints/best.safetensors")
    data: str = option(help="a data set, as jobs/materialize.py writes it: a folder, s3://, gs:// or hdfs://")
    output: str = option(help="folder for report.json and the table per_class")
    split: Literal["train", "val", "test"] = option("val", "which rows are scored")
    image_sizes: list[int] = option(
        [], "sides of the square that the network sees, one evaluation each; none: that of the run"
    )
    crops: int = option(1, "1: the middle of a picture; 10: the mean over corners, middle and their mirror images")
    unlisted: Literal["as_trained", "absent", "unknown"] = option(
        "as_trained", "what a class is that an image does not list; as_trained: what it was to the run"
    )
    vocabulary: str = option(
        "", "table of jobs/annotate.py or file with the classes' names; default: as the checkpoint and the data set say"
    )
    batch_size: int = option(0, "images at once on each rank; 0: that of the run")
    decode_threads: int = option(2, "threads that decode pictures, per rank")
    bad_images: BadImages = option(
        "raise", "a picture that cannot be decoded stops the job, or is left out and counted"
    )
    scratch: str = option(
        "", "local folder for scores that do not fit into memory; default: the system's temporary one"
    )

    def __post_init__(self) -> None:
        check_crops(self.crops)
        if self.batch_size < 0:
            raise ValueError(f"batch_size must be >= 0, got {self.batch_size}")
        for size in self.image_sizes or [32]:
            DataConfig(path=self.data, image_size=size, decode_threads=self.decode_threads)  # raises


def main(argv: Sequence[str]) -> int:
    with said_by_rank_0(int(os.environ.get("HOROVOD_RANK", os.environ.get("RANK", "0")))):
        job = config.load(Job, argv, program="evaluate.py", doc=__doc__)
        data = resolve(job.data)
        trained = load_trained(Path(job.checkpoint))
        split = read_split(data, job.split)
        if split.num_classes != trained.num_classes:
            raise InputError(f"data: '{data}' has {split.num_classes} classes, the checkpoint {trained.num_classes}")
        if not split.rows:
            raise InputError(f"split={job.split} of '{data}' has no rows")
        names = find_names_of_labels(job.vocabulary, trained, split)
        if job.scratch and not Path(job.scratch).is_dir():
            raise InputError(f"scratch: '{job.scratch}' is no folder; a local one is expected, on each machine")
    try:
        comm = open_comm(os.environ)
        _evaluate(job, trained, split, names, comm)
    except RanksLost as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return entry.FAILED
    comm.close()
    return entry.DONE


def _evaluate(job: Job, trained: Trained, split: Split, names: tuple[str, ...] | None, comm: Comm) -> None:
    """On each rank; rank 0 writes what was found."""
    output, data = resolve(job.output), resolve(job.data)
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores // comm.local_size)))
    if comm.rank == 0:
        tables.claim(output, "evaluate")
    report = JobReport("evaluate", output, config.to_dict(job))
    facts = class_facts(split, read_split(data, "train") if comm.rank == 0 else None)
    scratch = Path(job.scratch) if job.scratch else None
    unlisted = trained.unlisted if job.unlisted == "as_trained" else job.unlisted
    evaluations, per_class = [], []
    for size in job.image_sizes or [trained.image_size]:
        reading = DataConfig(
            path=data,
            batch_size=job.batch_size or int(trained.run["data"]["batch_size"]),
            image_size=size,
            evaluation=trained.preprocessing,
            decode_threads=job.decode_threads,
            bad_images=job.bad_images,
        )
        device = choose_device(comm.local_rank)
        found = evaluate_trained(trained, split, reading, job.crops, comm, device, facts, unlisted, scratch)
        evaluations.append({"image_size": size, "left_out": split.rows - found.images, "report": found.report})
        report.counts[f"images at {size} pixels"] = {"scored": found.images, "left out": split.rows - found.images}
        per_class.append(per_class_table(found, size, names))
        if comm.rank == 0:
            print(f"{size} pixels, {job.crops} crops: {summarise(found.report)}", flush=True)
    if comm.rank == 0:
        tables.write_table(join(output, "per_class"), "per_class", pa.concat_tables(per_class))
        about = {"step": trained.step, "mean_of_weights": trained.is_mean, "ranks": comm.size}
        report.finish(**about, evaluations=evaluations)


if __name__ == "__main__":
    entry.run(main)
