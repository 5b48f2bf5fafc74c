"""What a run has to fetch, written down before it begins: files of entries in the staging folder, for one task or more.

So lists and labels are read once, workers need nothing from Spark but names of files, and a task that runs again reads
what it read before.
"""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pyarrow import fs
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ml_images.download.entries import ENTRY
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

# A minute of work and two seconds of it: the slowest URLs of a task, however few it has, may take another minute
# (deadline_s).
TASK_ROWS, LEAST_TASK_ROWS = 20_000, 1_000
_FILE_BYTES = 100_000  # of lists, for a file of a plan: a thousand rows or two
_FILES_A_CORE = 64  # at most, while tasks are not longer than TASK_ROWS: a file takes 0.05 s
_LEAST_ENTRY_BYTES = 20  # of a list
_PLAN = "_plan-"
_NOT_IN_A_PORT = r"(?i)^(\s*https?://[^/?]*?):(?:80|443)(?=[/?]|\s*$)"


@dataclass(frozen=True)
class FetchPlan:
    """The files of each task, and the entries in all of them."""

    tasks: Sequence[Sequence[str]]
    rows: int


def write_plan(entries: DataFrame, location: str, input_bytes: int) -> FetchPlan:
    """Write `entries` (columns of ENTRY) into the staging folder of the images table at `location`.

    Entries with the same first URL are in one file, one after the other; else files are fair samples of the URLs.
    `input_bytes`: what labels and lists take in storage, from which follows how many files there are. Tasks get two
    thirds of a core's share of the entries that are left, so that cores end together, but no more than TASK_ROWS, and
    no fewer than LEAST_TASK_ROWS where they are enough for two tasks a core.
    """
    cores = entries.sparkSession.sparkContext.defaultParallelism
    few, many = 2 * cores, _FILES_A_CORE * cores
    num_files = max(few, min(many, input_bytes // _FILE_BYTES), input_bytes // (_LEAST_ENTRY_BYTES * TASK_ROWS))
    placed = entries.withColumn("url", _first_url()).withColumn("place", F.xxhash64(spelled_alike(F.col("url"))))
    ordered = placed.repartition(num_files, "place").sortWithinPartitions("place", "url", "key").select(*ENTRY.names)
    staging = join(location, tables.STAGING)
    _forget_plans(staging)
    folder = join(staging, f"{_PLAN}{uuid4().hex}")
    files = work.write(ordered, folder, "look for what is missing")
    rows = sum(count for _, count in files)
    return FetchPlan(list(_together(files, rows, cores)), rows)


def read_plan(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The entries of a task, by the columns of ENTRY, in their order."""
    for file in files:
        for batch in tables.read_batches(file, ENTRY.names, rows=1024):
            yield from batch.to_pylist()


def _forget_plans(staging: str) -> None:
    """Those of runs that did not end."""
    filesystem, path = open_location(staging)
    for info in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if info.base_name.startswith(_PLAN):
            filesystem.delete_dir(info.path)


def _together(files: Sequence[tuple[str, int]], rows: int, cores: int) -> Iterator[list[str]]:
    """Neighbours for each task (guided self-scheduling, as work.task_sizes)."""
    least = min(LEAST_TASK_ROWS, -(-rows // (2 * cores)))
    group, held, left = list[str](), 0, rows
    for file, here in files:
        if group and held + here > max(least, min(TASK_ROWS, 2 * left // (3 * cores))):
            yield group
            group, held, left = [], 0, left - held
        group.append(file)
        held += here
    if group:
        yield group


def ascii_lower(text: Column) -> Column:
    """With A to Z made small. F.lower of Spark 4.0 first finds out the title case of all of Unicode: a second."""
    return F.translate(text, string.ascii_uppercase, string.ascii_lowercase)


def _first_url() -> Column:
    return F.coalesce(F.get(F.filter("urls", lambda url: F.trim(url) != ""), 0), F.col("key"))


def spelled_alike(url: Column) -> Column:
    """Equal for the spellings of a URL that download.url.same_place takes for the same (and for some others), but for
    rare ones: percent-encoded letters and digits, dots in the path, non-ASCII hosts, numbers for an IPv4 address.

    Letters, digits and all that is not ASCII tell two URLs apart; case and punctuation do not.
    """
    url = F.regexp_replace(F.split_part(url, F.lit("#"), F.lit(1)), _NOT_IN_A_PORT, "$1")
    encoded = ascii_lower(F.replace(F.url_encode(url), F.lit("%25"), F.lit("%")))  # what was encoded before is so once
    return F.regexp_replace(encoded, "%[0-7][0-9a-f]|[^a-z0-9%]", "")
