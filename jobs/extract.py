"""Archives and labels in, the table images out: one row for every key that is no URL, a picture or a named outcome.

Archives are tars (also of tars, and compressed: gz, bz2, xz, zst), zips, and folders of these or of pictures. A key
names the member whose place ends with it: n02084071/n02084071_9.JPEG is n02084071_9.JPEG in n02084071.tar, wherever
that lies; a key may lack the file's ending. Run the same command again to extract only what is missing. The output may
be that of download: URLs come from the web, all other keys from archives, into one table.

Examples:
  spark-submit jobs/extract.py "archives=[imagenet/*.tar]" labels=out/annotate/labels output=out/extract
  ml-images extract archives=fall11_whole.tar labels=out/annotate/labels output=out/download
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import functions as F

from ml_images import config, entry
from ml_images.archives.config import ExtractConfig
from ml_images.archives.find import find_archives
from ml_images.archives.names import text_of
from ml_images.options import option
from ml_images.report.contact_sheet import write_contact_sheet
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.contact_sheet import gather
from ml_images.spark.extract import extract_missing
from ml_images.spark.images_table import count_outcomes
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import for_spark, join, resolve
from ml_images.storage.s3 import spark_settings

SHOWN = 20  # archives that could not be read to their end

# A speculative copy of a task would fetch or read everything again.
_NO_COPIES = {"spark.speculation": "false"}
_TRIES = 4  # of a task whose worker dies


@dataclass(frozen=True)
class Job:
    archives: list[str] = option(
        help="archives and folders, also patterns; of a key that is in several the first has it"
    )
    labels: str = option(help="labels table that jobs/annotate.py wrote")
    output: str = option(
        help="folder for the table images, contact_sheet.html and report.json (also report-extract.json); may be that "
        "of jobs/download.py"
    )
    max_loss: float = option(0.5, "share of the keys that are no URLs without a picture before the exit code is 3")
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="extract.py", doc=__doc__)
    tables.require(job.labels, "labels")
    archives = find_archives(job.archives)
    output = resolve(job.output)
    tables.claim(output, "download")  # one folder, one table, whatever it comes from
    images = join(output, "images")
    told = config.to_dict(job) | {"archives": [text_of(pattern) for pattern in job.archives]}
    report = JobReport("extract", output, told)
    settings = _NO_COPIES | spark_settings(job.labels, output) | job.spark
    with locked(images), session.opened("extract", settings, task_failures=_TRIES) as spark:
        keys = spark.read.parquet(for_spark(job.labels)).select("key").where(~F.col("key").contains("://"))
        done = extract_missing(keys, archives, images, job.extract)
        outcomes = count_outcomes(spark, images, keys)
        sheet = gather(spark, images)
    report.counts |= {"keys": {"archives": len(archives), **done.keys}, "members": done.members}
    report.counts["images by outcome"] = outcomes
    for problem in done.problems[:SHOWN]:
        print(f"extract: {problem}", file=sys.stderr)
    if len(done.problems) > SHOWN:
        print(f"extract: {len(done.problems) - SHOWN} more archives are listed in report.json", file=sys.stderr)
    write_contact_sheet(output, sheet)
    report.finish(problems=done.problems)
    # report.json is of the last job that wrote here; download may be the next.
    tables.write_json(join(output, "report-extract.json"), tables.read_json(join(output, "report.json")))
    if done.other_pictures:
        print(f"pictures of earlier runs ({done.other_pictures}) stay as they are; another output gets new ones")
    if not done.keys["asked for"]:
        print("nothing was left to do: every key has a row, and these archives can add nothing to it")
    lost = sum(outcomes.values()) - outcomes.get("ok", 0)
    return entry.TOO_MUCH_LOST if lost > job.max_loss * sum(outcomes.values()) else entry.DONE


if __name__ == "__main__":
    entry.run(main)
