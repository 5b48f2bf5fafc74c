"""Petastorm's metadata without a pickle: only the JSON count of row groups per file, in `_common_metadata`.

With it petastorm.make_reader and make_batch_reader sort the files by path and open no footers; the columns they infer
from the Parquet schema. Petastorm's own writer would add a pickled schema, which its readers then unpickle: a data set
could run code on mere opening. We never write one; train/dataset.py refuses to open one.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

COMMON_METADATA = "_common_metadata"
ROW_GROUPS = b"dataset-toolkit.num_row_groups_per_file.v1"


def write_row_group_counts(location: str, schema: pa.Schema) -> dict[str, int]:
    """Write `_common_metadata` for the Parquet files below `location`; row groups per relative path."""
    filesystem, path = open_location(location)
    counts = {
        name: pq.read_metadata(join(path, name), filesystem=filesystem).num_row_groups
        for name in tables.parts(location)
    }
    metadata = {ROW_GROUPS: json.dumps(counts).encode()}
    with tables.storage_errors(location):
        pq.write_metadata(schema.with_metadata(metadata), join(path, COMMON_METADATA), filesystem=filesystem)
    return counts
