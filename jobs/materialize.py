"""Labels and images in; the data set for training out: split, in row groups made for the ranks, readable by anything.

Examples:
  spark-submit jobs/materialize.py annotations=out/annotate images=out/download/images output=out/materialize
  ml-images materialize annotations=out/annotate images=out/download/images output=out/materialize layout.ranks=32
  ml-images materialize annotations=A images=I output=O groups=dedup/groups splits.folds=10 splits.fold=3
  ml-images materialize annotations=A images=I output=O "splits.lists=[val=val_keys.txt]" replication.kind=sqrt

With append=true keys that the data set in the output lacks are added to it as new files, by the same rule for splits;
it stays as it was until all of them are there. Without, the data set is written anew. A second version beside the first
has an output of its own.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.labels.per_split import lacking, warnings
from ml_images.labels.replication import ReplicationConfig
from ml_images.labels.splits import SplitConfig
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.dataset_join import Inputs
from ml_images.spark.dataset_layout import LayoutConfig, uneven
from ml_images.spark.dataset_publish import open_to_append, publish
from ml_images.spark.materialize import Options, write_dataset
from ml_images.spark.split_tables import withdraw_split_tables, write_split_tables
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    annotations: str = option(help="output folder of jobs/annotate.py (tables labels and vocabulary)")
    images: str = option(help="images table that jobs/download.py wrote")
    output: str = option(help="folder for the table dataset, tables about its splits, and report.json")
    groups: str = option("", "near duplicates: Parquet with key and group; a group is never in two splits")
    append: bool = option(False, "add the keys that the data set in output lacks, instead of writing it anew")
    splits: SplitConfig = field(default_factory=SplitConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        if self.append and self.splits.folds:
            raise ValueError(
                "append=true does not go with splits.folds, as folds are made of all rows at once: write the data set "
                "anew, or a second one with another output"
            )


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="materialize.py", doc=__doc__)
    annotations, output = resolve(job.annotations), resolve(job.output)
    labels, images, dataset = join(annotations, "labels"), resolve(job.images), join(output, "dataset")
    tables.require(labels, "labels")
    tables.require(images, "images")
    vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
    if job.append:
        tables.require(dataset, "dataset")
    tables.claim(output, "materialize")
    report = JobReport("materialize", output, config.to_dict(job))
    options = Options(job.splits, job.layout, job.replication)
    with locked(dataset):
        tables.claim(dataset, "dataset")
        existing = open_to_append(dataset, vocabulary, options, job.groups) if job.append else {}
        there = tuple(join(dataset, name) for name in existing)
        inputs = Inputs(labels, images, resolve(job.groups) if job.groups else "", there)
        with session.opened(
            "materialize", spark_settings(annotations, images, output, job.groups) | job.spark
        ) as spark:
            written = write_dataset(spark, inputs, dataset, len(vocabulary), options, existing)
        if not job.append:  # where it is cut off now, no counts are better than those of other rows
            withdraw_split_tables(output)
        manifest = publish(dataset, vocabulary, written, config.to_dict(job), append=job.append)
        write_split_tables(output, written)  # where it is cut off before this, readers see by the manifest's labels
    report.counts["rows"] = written.counts
    for what in ("rows", "row_groups"):
        told = {split: counts[what] for split, counts in manifest["splits"].items()}
        report.counts[f"{what.replace('_', ' ')} by split"] = told
    missing = lacking(written.labels, vocabulary)
    if written.fold_labels:
        missing |= lacking(written.fold_labels, vocabulary)
    odd = uneven(manifest["splits"], job.layout.ranks) if job.append else []
    for line in (*odd, *warnings(missing)):
        logger.warning(line)
    report.finish(classes=len(vocabulary), labels_without_images=missing, replication=manifest["replication"])
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
