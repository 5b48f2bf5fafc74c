"""Keys and URLs in, the table images out: one row for every distinct key, each a verified picture or a named outcome.

Run the same command again to fetch what is new or deserves another try; nothing else is fetched twice. Say in
download.fetch.user_agent who you are and how to reach you.

Examples:
  spark-submit jobs/download.py labels=out/annotate/labels output=out/download
  ml-images download labels=out/annotate/labels output=out/download download.base_url=https://mirror.example/
  ml-images download "urls=[urls.parquet]" columns.key=id "columns.urls=[mirror, original]" output=out/download
  ml-images download conf/open-images.yaml "urls=[train-images-with-rotation.csv]" output=out/download
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_images import config, entry
from ml_images.download.config import DownloadConfig
from ml_images.download.entries import ListColumns
from ml_images.options import option
from ml_images.report.contact_sheet import write_contact_sheet
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.contact_sheet import gather
from ml_images.spark.download import Asked, fetch_missing
from ml_images.spark.image_parts import PartConfig
from ml_images.spark.url_lists import read_entries
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings

# A speculative copy of a task would fetch or read everything again.
_NO_COPIES = {"spark.speculation": "false"}
_TRIES = 4  # of a task whose worker dies
_WITHOUT_CONTACT = (
    "download: warning: download.fetch.user_agent '{}' names no way to reach you, as public hosts (Flickr, Wikimedia) "
    "ask for: add a URL or an e-mail address, as in 'mybot/1.0 (me@example.org)'"
)


@dataclass(frozen=True)
class Job:
    output: str = option(
        help="folder for the table images, contact_sheet.html and report.json (also report-download.json)"
    )
    labels: str = option("", "labels table of jobs/annotate.py, whose keys are wanted")
    urls: list[str] = option(
        [],
        "lists of the URLs of keys: .parquet, or .csv, .tsv, .txt, also as .gz or .bz2; without labels, all keys",
    )
    columns: ListColumns = field(default_factory=ListColumns)
    max_loss: float = option(0.5, "share of keys without a picture before the exit code is 3")
    placeholder_keys: int = option(
        10, "a picture that so many different URLs give byte for byte is a placeholder; 0: there is no such rule"
    )
    download: DownloadConfig = field(default_factory=DownloadConfig)
    part: PartConfig = field(default_factory=PartConfig)
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")

    def __post_init__(self) -> None:
        entry.check_max_loss(self.max_loss)
        if not self.labels and not self.urls:
            raise ValueError("labels or urls must say what is wanted, none was given")
        if self.placeholder_keys < 0 or self.placeholder_keys == 1:
            raise ValueError(f"placeholder_keys must be 0 or at least 2, got {self.placeholder_keys}")
        if self.columns.rotation and self.download.image.keeps_bytes:
            raise ValueError(
                "download.image.short_side=original keeps the bytes as they came, which cannot be turned by "
                f"columns.rotation={self.columns.rotation}; set a number of pixels, or columns.rotation= for none"
            )


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="download.py", doc=__doc__)
    if job.labels:
        tables.require(job.labels, "labels")
    output = resolve(job.output)
    tables.claim(output, "download")
    images = join(output, "images")
    report = JobReport("download", output, config.to_dict(job))
    if not job.download.fetch.allow_private and not job.download.fetch.names_contact:
        print(_WITHOUT_CONTACT.format(job.download.fetch.user_agent), file=sys.stderr)
    settings = _NO_COPIES | spark_settings(job.labels, *job.urls, output) | job.spark
    with locked(images), session.opened("download", settings, light=True, task_failures=_TRIES) as spark:
        entries = read_entries(spark, job.labels, job.urls, job.columns)
        done = fetch_missing(entries, Asked(images, job.download, job.columns, job.part, job.placeholder_keys))
        sheet = gather(spark, images)
    report.counts["keys"] = done.counts
    if job.urls:
        report.counts["lists"] = done.lists
    report.counts["images by outcome"] = done.outcomes
    if done.milliseconds:
        report.counts["milliseconds by stage"] = done.milliseconds
    if sheet.hosts:
        report.counts["hosts that lost most"] = {
            f"{host.host}, mostly {host.commonest_loss}": host.lost for host in sheet.hosts
        }
    write_contact_sheet(output, sheet)
    report.finish()
    # report.json is of the last job that wrote here; extract may be the next.
    tables.write_json(join(output, "report-download.json"), tables.read_json(join(output, "report.json")))
    if done.other_pictures:
        print(f"pictures of earlier runs ({done.other_pictures}) stay as they are; another output gets new ones")
    if not done.counts["fetched"] and "fetched instead of placeholders" not in done.counts:
        todo = "fetch" if done.counts["found to be placeholders"] else "do"
        print(f"nothing was left to {todo}: every key has a row that deserves no other try")
    lost = done.counts["keys"] - done.outcomes.get("ok", 0)
    return entry.TOO_MUCH_LOST if lost > job.max_loss * done.counts["keys"] else entry.DONE


if __name__ == "__main__":
    entry.run(main)
