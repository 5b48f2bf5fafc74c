"""Labels and images in; the data set for training out: split, in row groups made for the ranks, readable by anything.

Examples:
  spark-submit jobs/materialize.py annotations=out/annotate images=out/download/images output=out/materialize
  ml-images materialize annotations=out/annotate images=out/download/images output=out/materialize layout.ranks=32
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.labels.splits import SplitConfig
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.materialize import LayoutConfig, finish_dataset, write_dataset
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve


@dataclass(frozen=True)
class Job:
    annotations: str = option(help="output folder of jobs/annotate.py (tables labels and vocabulary)")
    images: str = option(help="images table that jobs/download.py wrote")
    output: str = option(help="folder for the table dataset and report.json")
    splits: SplitConfig = field(default_factory=SplitConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="materialize.py", doc=__doc__)
    annotations, images, output = resolve(job.annotations), resolve(job.images), resolve(job.output)
    labels, dataset = join(annotations, "labels"), join(output, "dataset")
    tables.require(labels, "labels")
    tables.require(images, "images")
    vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
    tables.claim(output, "materialize")
    report = JobReport("materialize", output, config.to_dict(job))
    with locked(dataset):
        with session.opened("materialize", job.spark) as spark:
            written = write_dataset(spark, labels, images, dataset, len(vocabulary), job.splits, job.layout)
        finish_dataset(dataset, vocabulary, written, config.to_dict(job))
    report.counts["rows"] = written.counts
    report.counts["rows by split"] = {split: layout.rows for split, layout in written.layouts.items()}
    report.counts["row groups by split"] = {split: layout.row_groups for split, layout in written.layouts.items()}
    report.finish(classes=len(vocabulary))
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
