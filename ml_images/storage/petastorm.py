"""Petastorm's metadata without a pickle: only the JSON count of row groups per file, in `_common_metadata`.

With it petastorm.make_reader and make_batch_reader sort the files by path and open no footers; the columns they infer
from the Parquet schema. Petastorm's own writer would add a pickled schema, which its readers then unpickle: a data set
could run code on mere opening. We never write one; train/dataset.py refuses to open one.
"""

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

COMMON_METADATA = "_common_metadata"
ROW_GROUPS = b"dataset-toolkit.num_row_groups_per_file.v1"  # JSON: file name -> number of row groups


def write_row_group_counts(
    location: str, splits: Iterable[str], schema: pa.Schema, row_groups: Mapping[str, int]
) -> None:
    """Write `_common_metadata` into a data set and into each of its split folders. row_groups: of each of its files, by
    its path below `location`.

    The three say the same, and name each file both as seen from the root and as seen from its split: when the root is
    opened, pyarrow takes the metadata of whichever folder it lists last.
    """
    filesystem, path = open_location(location)
    counts: dict[str, int] = {}
    for name, count in sorted(row_groups.items()):
        counts |= {name: count, name.rpartition("/")[2]: count}
    assert len(counts) == 2 * len(row_groups), "files of two splits have the same name"
    metadata = {ROW_GROUPS: json.dumps(counts).encode()}
    for folder in (path, *(join(path, f"split={split}") for split in splits)):
        with tables.storage_errors(location):
            pq.write_metadata(schema.with_metadata(metadata), join(folder, COMMON_METADATA), filesystem=filesystem)
