"""Gives every image of a class the classes that it implies: strong pairs, or any pairs that you have chosen.

An implied class that is verified absent (0) on an image, or lies below a class that is, is held back; one that is there
already stays as it is. What is added has the origin 2 (co-occurrence), and its ancestors, added with it, 1. Labels are
closed first, where they were not, and pairs are applied to those, so that i -> j and j -> k add no k to an image of i;
run it again for that. The output takes the place of that of jobs/annotate.py in the next jobs.

Examples:
  spark-submit jobs/augment.py annotations=out/annotate pairs=out/cooccur/strong_pairs output=out/augment
  ml-images augment annotations=out/annotate pairs=mine.csv output=out/augment confidence=0.8
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_images import config, entry
from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.labels.pair_list import read_pairs
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.augment import augment, copy_table
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve


@dataclass(frozen=True)
class Job:
    annotations: str = option(help="output folder of jobs/annotate.py (tables labels, rejects and vocabulary)")
    pairs: str = option(help="table strong_pairs of jobs/cooccur.py, or Parquet or CSV with the columns class, implied")
    output: str = option(help="folder for the tables labels, rejects and vocabulary, and report.json")
    confidence: float = option(1.0, "of what is added; ML-Images does not say which it used")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise ValueError(f"confidence must be above 0 and at most 1, got {self.confidence}")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="augment.py", doc=__doc__)
    annotations, output = resolve(job.annotations), resolve(job.output)
    if output == annotations:
        raise InputError(f"output '{job.output}' is also the input; give another folder")
    given = {table: join(annotations, table) for table in ("labels", "rejects", "vocabulary")}
    for table, place in given.items():
        tables.require(place, table)
    vocabulary = tables.read_table(given["vocabulary"], "vocabulary")
    implications = read_pairs(job.pairs, len(vocabulary))
    ancestors = find_ancestors(vocabulary.column("parents").to_pylist())
    tables.claim(output, "augment")
    report = JobReport("augment", output, config.to_dict(job))
    made = {table: join(output, table) for table in given}
    with locked(made["labels"]):
        with session.opened("augment", job.spark, light=True) as spark:
            done = augment(spark, given["labels"], implications, ancestors, job.confidence, output)
        for table in ("rejects", "vocabulary"):
            copy_table(given[table], table, made[table])
        tables.publish(*made.values())
    lines = (tables.read_json(join(annotations, "report.json")) or {}).get("counts", {}).get("lines")
    if lines:  # as the input's job tells them: rows and rejects are as many as there
        report.counts["lines"] = lines
    report.counts["images"] = {"label rows": done.images, "changed by pairs": done.images_changed}
    report.counts["labels"] = {
        "before": done.labels,
        "ancestors that were missing": done.closed,
        "added by pairs": done.added,
        "added as their ancestors": done.ancestors,
        "of those added, unknown before": (done.labels + done.closed + done.added + done.ancestors - done.labels_after),
        "after": done.labels_after,
    }
    report.counts["implied labels"] = {
        "added": done.added,
        "present already": done.present,
        "held back as verified absent": done.held_back,
    }
    report.finish(classes=len(vocabulary), pairs=implications.pairs)
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
