"""A data set against its manifest: every file is read and its size, digest and rows are compared.

Examples:
  spark-submit jobs/verify.py dataset=out/materialize/dataset
  ml-images verify dataset=out/materialize/dataset output=out/verify

Exit code 0 when all files are as they were written, 1 when any is not; those are named.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ml_images import config, entry
from ml_images.options import option
from ml_images.report.job import JobReport, counts_table
from ml_images.spark import session
from ml_images.spark.verify import verify
from ml_images.storage import tables
from ml_images.storage.manifest import INTACT
from ml_images.storage.paths import resolve

_NAMED = 20  # files that are told by name


@dataclass(frozen=True)
class Job:
    dataset: str = option(help="folder of a data set, as jobs/materialize.py writes it")
    output: str = option("", "folder for report.json with every file that is not as written; without it there is none")
    spark: dict[str, str] = option({}, "Spark settings, e.g. spark.spark.executor.memory=4g")


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="verify.py", doc=__doc__)
    dataset = resolve(job.dataset)
    tables.require(dataset, "dataset")
    output = resolve(job.output) if job.output else ""
    if output:
        tables.claim(output, "verify")
    report = JobReport("verify", output, config.to_dict(job))
    with session.opened("verify", job.spark, light=True) as spark:
        states = verify(spark, dataset)
    report.counts["files"] = Counter(states.values())
    bad = sorted((name, state) for name, state in states.items() if state != INTACT)
    if output:
        report.finish(not_as_written=dict(bad))
    else:
        print(counts_table("files", report.counts["files"]))
    for name, state in bad[:_NAMED]:
        print(f"{name}: {state}", file=sys.stderr)
    if len(bad) > _NAMED:
        print(f"... and {len(bad) - _NAMED} more", file=sys.stderr)
    if bad:
        print(f"verify.py: {len(bad)} of {len(states)} files of '{dataset}' are not as written", file=sys.stderr)
        return entry.FAILED
    print(f"verify: all {len(states)} files of {dataset} are as they were written")
    return entry.DONE


if __name__ == "__main__":
    entry.run(main)
