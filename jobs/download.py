"""Labels in, the table images out: one row for every distinct key, each a verified picture or a named outcome.

Run the same command again to fetch what is new or deserves another try; nothing else is fetched twice.

Examples:
  spark-submit jobs/download.py labels=out/annotate/labels output=out/download
  ml-images download labels=out/annotate/labels output=out/download download.base_url=https://mirror.example/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.download.config import DownloadConfig
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.download import ChunkConfig, count_outcomes, fetch_missing
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import for_spark, join, resolve


@dataclass(frozen=True)
class Job:
    labels: str = option(help="labels table that jobs/annotate.py wrote")
    output: str = option(help="folder for the table images and report.json")
    max_loss: float = option(0.5, "share of keys without a picture before the exit code is 3")
    download: DownloadConfig = field(default_factory=DownloadConfig)
    chunk: ChunkConfig = field(default_factory=ChunkConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="download.py", doc=__doc__)
    tables.require(job.labels, "labels")
    output = resolve(job.output)
    tables.claim(output, "download")
    images = join(output, "images")
    report = JobReport("download", output, config.to_dict(job))
    with locked(images), session.opened("download", job.spark) as spark:
        keys = spark.read.parquet(for_spark(job.labels)).select("key")
        report.counts["keys"] = fetch_missing(keys, images, job.download, job.chunk)
        outcomes = count_outcomes(spark, images, keys)
    report.counts["images by outcome"] = outcomes
    report.finish()
    lost = sum(outcomes.values()) - outcomes.get("ok", 0)
    return entry.TOO_MUCH_LOST if lost > job.max_loss * sum(outcomes.values()) else entry.DONE


if __name__ == "__main__":
    entry.run(main)
