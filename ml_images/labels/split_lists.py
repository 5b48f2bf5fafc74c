"""Lists that say which split a key belongs to: tables with the columns key and split, or a text file for each split.

All lists together are one answer: a key may stand in several of them, but not in two splits.
"""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ml_images.errors import InputError
from ml_images.schemas import GIVEN_SPLITS, SPLITS
from ml_images.storage.paths import read_bytes

WHAT = "split list"

_COLUMNS = GIVEN_SPLITS.names
_TABLES = (".parquet", ".csv", ".tsv")
_UNPACKED = (".gz", ".bz2", ".zst")


def read_lists(entries: Sequence[str]) -> pa.Table:
    """(key, split), a row for each distinct key of all lists, by GIVEN_SPLITS. Holds the text of all keys twice.

    InputError for an entry that is neither form, an unknown split, and keys that stand in two splits.
    """
    table = pa.concat_tables([_read(entry) for entry in entries])
    found = table.group_by("key", use_threads=False).aggregate([("split", "min"), ("split", "max")])
    twice = found.filter(pc.not_equal(found["split_min"], found["split_max"]))
    if len(twice):
        first = twice.slice(0, 1).to_pylist()[0]
        raise InputError(
            f"{len(twice)} keys of splits.lists are in two splits, such as '{first['key']}' in {first['split_min']} "
            f"and {first['split_max']}: a key has one"
        )
    return found.select(["key", "split_min"]).rename_columns(_COLUMNS).cast(GIVEN_SPLITS)


def _read(entry: str) -> pa.Table:
    split, equals, path = entry.partition("=")
    if equals and "/" not in split:
        return _read_keys(split, path, entry)
    ending = _without_packing(entry)
    if not ending.endswith(_TABLES):
        raise InputError(
            f"splits.lists: '{entry}' is neither a table ({', '.join(_TABLES)}) nor SPLIT=FILE with a key a line, such "
            f"as val={entry}"
        )
    content = read_bytes(entry, WHAT)
    try:
        if ending.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(content))
        else:
            table = pa.csv.read_csv(
                io.BytesIO(content),
                parse_options=pa.csv.ParseOptions(delimiter="\t" if ending.endswith(".tsv") else ","),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string())),
            )
    except pa.ArrowException as error:
        raise InputError(f"{WHAT} '{entry}' cannot be read: {' '.join(str(error).split())}") from error
    if any(table.column_names.count(name) != 1 for name in _COLUMNS):
        raise InputError(
            f"{WHAT} '{entry}' has the columns {', '.join(table.column_names)}; key and split are needed, each once"
        )
    table = table.select(_COLUMNS)
    if any(column.null_count for column in table.columns):
        raise InputError(f"{WHAT} '{entry}' has rows without a key or a split")
    try:
        table = table.cast(GIVEN_SPLITS)
    except pa.ArrowException as error:
        raise InputError(f"{WHAT} '{entry}': key and split are no text ({' '.join(str(error).split())})") from error
    unknown = [split for split in pc.unique(table["split"]).to_pylist() if split not in SPLITS]
    if unknown:
        raise InputError(f"{WHAT} '{entry}' names the split '{unknown[0]}'; accepted: {', '.join(SPLITS)}")
    return table


def _read_keys(split: str, path: str, entry: str) -> pa.Table:
    if split not in SPLITS:
        raise InputError(f"splits.lists: '{entry}' names the split '{split}'; accepted: {', '.join(SPLITS)}")
    try:
        lines = read_bytes(path, WHAT).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{WHAT} '{path}' is not UTF-8 ({error.reason} at byte {error.start})") from error
    keys = [key for line in lines if (key := line.rstrip("\r"))]
    return pa.table([keys, [split] * len(keys)], schema=GIVEN_SPLITS)


def _without_packing(path: str) -> str:
    for ending in _UNPACKED:
        path = path.removesuffix(ending)
    return path
