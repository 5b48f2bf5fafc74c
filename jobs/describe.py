"""What happened to every row: report.html and report.json over the tables of the other jobs.

Examples:
  spark-submit jobs/describe.py annotations=out/annotate output=out/describe
  ml-images describe annotations=out/annotate images=out/download/images dataset=out/materialize/dataset \\
      training=out/train output=out/describe
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_images import config, entry
from ml_images.options import option
from ml_images.provenance import provenance
from ml_images.report.accounts import account_dataset, account_lines
from ml_images.report.contents import Report
from ml_images.report.numbers import report_json
from ml_images.report.page import render
from ml_images.report.thumbnails import thumbnails
from ml_images.report.training import read_training
from ml_images.spark import describe, session
from ml_images.storage import tables
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings


@dataclass(frozen=True)
class Job:
    annotations: str = option(help="output folder of jobs/annotate.py")
    output: str = option(help="folder for report.html and report.json")
    images: str = option("", "images table of jobs/download.py")
    dataset: str = option("", "data set of jobs/materialize.py")
    training: str = option("", "output folder of train.py")
    title: str = option("ml-images", "headline of the page")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="describe.py", doc=__doc__)
    annotations = resolve(job.annotations)
    given = {"labels": join(annotations, "labels"), "rejects": join(annotations, "rejects")}
    given |= {table: place for table, place in (("images", job.images), ("dataset", job.dataset)) if place}
    for table, place in given.items():
        tables.require(place, table)
    vocabulary = tables.read_table(join(annotations, "vocabulary"), "vocabulary")
    training = read_training(job.training) if job.training else None
    tables.claim(job.output, "describe")
    with session.opened("describe", spark_settings(*given.values()) | job.spark, light=True) as spark:
        statistics, rejects = describe.count_tables(spark, given["labels"], given["rejects"], len(vocabulary))
        lines = account_lines(annotations, statistics.rows, rejects)
        outcomes = describe.count_images(spark, given["labels"], job.images, statistics.rows) if job.images else None
    num_ok = None if outcomes is None else outcomes.get("ok", 0)
    dataset = account_dataset(job.dataset, num_ok) if job.dataset else None
    source = provenance()
    report = Report(
        title=job.title,
        vocabulary=vocabulary,
        statistics=statistics.result(),
        labels_per_class=statistics.labels_per_class,
        tags_per_image=statistics.tags_per_image,
        lines=lines,
        outcomes=outcomes,
        dataset=dataset,
        training=training,
        thumbnails=thumbnails(job.dataset, vocabulary) if job.dataset else (),
        written=f"{source['written_at']}, commit {source['commit'] or 'unknown'}",
        configuration=config.to_dict(job),
        versions=source["versions"],
    )
    numbers = report_json(report)
    tables.write_text(join(job.output, "report.html"), render(report, numbers))
    tables.write_json(join(job.output, "report.json"), {"job": "describe", **numbers, **source})
    print(f"report: {join(job.output, 'report.html')}")
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
