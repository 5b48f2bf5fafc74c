"""TFRecords, WebDataset tars or ImageFolders in; the tables labels, images and vocabulary out.

tfrecord     sparse and dense layout of jobs/export.py, so also the files of Tencent ML-Images; uncompressed
webdataset   tars (also .gz, .bz2, .xz, .zst) of pictures with .json (key, classes, confidences) or .cls (a class)
imagefolder  what jobs/export.py wrote, or any root/split/class/picture or root/class/picture: the path below the root
             is the key. A class is the folder's number or id in the vocabulary; without one the folders, sorted by
             name, are the vocabulary

Pictures are decoded and stored as jobs/download.py does it; with extract.image.short_side=original their bytes stay as
they are. A picture that is none is a row of images with its outcome; a damaged file ends the job with its name and the
byte. Where the folder of a file is a split (train, val, test), the table splits says so for each key, and
jobs/materialize.py keeps it with splits.lists=out/ingest/splits/part-000000.parquet.

Examples:
  spark-submit jobs/ingest.py inputs=out/tfrecord format=tfrecord output=out/ingest
  ml-images ingest "inputs=[tfrecords/*.tfrecords]" format=tfrecord vocabulary=dictionary_and_semantic_hierarchy.txt \\
      output=out/ingest
  ml-images ingest inputs=imagenette2 format=imagefolder output=out/ingest extract.image.short_side=original
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.archives.config import ExtractConfig
from ml_images.archives.names import text_of
from ml_images.hierarchy.parse import Format as VocabularyFormat
from ml_images.interchange.classes import class_of_folders, read_vocabulary
from ml_images.interchange.inputs import Format, find_inputs, find_vocabulary, refuse_inside
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.ingest import ingest
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings

# A speculative copy of a task would read everything again.
_NO_COPIES = {"spark.speculation": "false"}
_TRIES = 4  # of a task whose worker dies


@dataclass(frozen=True)
class Job:
    inputs: list[str] = option(help="files or folders of the format, also patterns")
    format: Format = option(help="format that is read")
    output: str = option(help="folder for the tables labels, images, vocabulary, splits and report.json")
    vocabulary: str = option(
        "", "what the classes mean: hierarchy or vocabulary.parquet; default: what lies in the input"
    )
    vocabulary_format: VocabularyFormat = option(
        "auto", "form of the vocabulary, for pairs of ids, which do not show it"
    )
    max_loss: float = option(0.5, "share of the keys without a picture before the exit code is 3")
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="ingest.py", doc=__doc__)
    inputs = find_inputs(job.inputs, job.format)
    output = resolve(job.output)
    refuse_inside(output, inputs)
    told = job.vocabulary or find_vocabulary(job.inputs)
    given = read_vocabulary(told, job.vocabulary_format) if told else None
    classes, vocabulary = class_of_folders([one.folder for one in inputs if one.folder], given)
    tables.claim(output, "ingest")
    has_splits = any(one.split for one in inputs)
    made = [join(output, table) for table in ("labels", "images")]
    told_config = config.to_dict(job) | {"inputs": [text_of(pattern) for pattern in job.inputs]}
    report = JobReport("ingest", output, told_config)
    settings = _NO_COPIES | spark_settings(output) | job.spark
    with locked(output):
        with session.opened("ingest", settings, task_failures=_TRIES) as spark:
            num_classes = None if vocabulary is None else len(vocabulary)
            done = ingest(spark, inputs, output, classes, num_classes, job.extract)
        if vocabulary is None:
            tables.withdraw(join(output, "vocabulary"))
        else:
            made.append(join(output, "vocabulary"))
            tables.stage_table(join(output, "vocabulary"), "vocabulary", vocabulary)
        if has_splits:
            made.append(join(output, "splits"))
        else:
            tables.withdraw(join(output, "splits"))
        tables.publish(*made)
    report.counts["read"] = {"inputs": len(inputs), "keys": done.images}
    unlabelled = done.images - done.label_rows
    report.counts["labels"] = {"rows": done.label_rows, "labels": done.labels, "keys without labels": unlabelled}
    report.counts["images by outcome"] = dict(done.outcomes.most_common())
    if has_splits:
        report.counts["keys by split"] = {split or "no split": count for split, count in sorted(done.splits.items())}
    report.finish(classes=None if vocabulary is None else len(vocabulary))
    lost = done.images - done.outcomes["ok"]
    return entry.TOO_MUCH_LOST if lost > job.max_loss * done.images else entry.DONE


if __name__ == "__main__":
    entry.run(main)
