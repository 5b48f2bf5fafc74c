"""The pairs that jobs/augment.py applies: any table with the columns class and implied, as an array for each class."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.labels.sums import Int32, Int64
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location, read_bytes

COLUMNS = ["class", "implied"]


@dataclass(frozen=True, eq=False)
class Implications:
    """`implied[indptr[c]:indptr[c + 1]]` are the classes that class c brings, ascending. int64 (classes + 1), int32."""

    indptr: Int64
    implied: Int32

    @property
    def pairs(self) -> int:
        return len(self.implied)


def read_pairs(location: str, num_classes: int) -> Implications:
    """The pairs in a strong_pairs table, another folder of Parquet files, a Parquet or a CSV file (with a header).

    Pairs given twice count once; further columns are passed over. Raises InputError for missing columns, a class that
    is no integer of the vocabulary, and a class that implies itself.
    """
    table = _read(location)
    for name in COLUMNS:
        if name not in table.column_names:
            raise InputError(f"pairs '{location}' have no column '{name}', only {', '.join(table.column_names)}")
        if not pa.types.is_integer(table.schema.field(name).type) and len(table):
            kind = table.schema.field(name).type
            raise InputError(f"pairs '{location}': column '{name}' holds {kind}, class numbers are expected")
        if table.column(name).null_count:
            raise InputError(f"pairs '{location}': column '{name}' has an empty value, a class number is expected")
    classes, implied = (table.column(name).to_numpy().astype(np.int64) for name in COLUMNS)
    for name, values in zip(COLUMNS, (classes, implied), strict=True):
        outside = values[(values < 0) | (values >= num_classes)]
        if len(outside):
            raise InputError(
                f"pairs '{location}': {name} {outside[0]} is not in the vocabulary, expected 0 to {num_classes - 1}"
            )
    if (classes == implied).any():
        raise InputError(f"pairs '{location}': class {classes[classes == implied][0]} implies itself")
    return to_implications(classes, implied, num_classes)


def to_implications(classes: Int64, implied: Int64, num_classes: int) -> Implications:
    """The pairs (classes[i], implied[i]) in the order of both, each once."""
    pairs = np.unique(classes * num_classes + implied)
    indptr = np.searchsorted(pairs, np.arange(num_classes + 1, dtype=np.int64) * num_classes).astype(np.int64)
    return Implications(indptr, (pairs % num_classes).astype(np.int32))


def _read(location: str) -> pa.Table:
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type == fs.FileType.Directory:
        if tables.read_json(join(location, tables.MARK)) is not None:
            return tables.read_table(location, "strong_pairs", COLUMNS)
        names = tables.parts(location)
        if not names:
            raise InputError(f"pairs '{location}' is a folder without Parquet files")
        return pa.concat_tables(_parquet(join(location, name)) for name in names)
    if location.endswith((".csv", ".csv.gz")):
        content = read_bytes(location, "pairs")
        try:
            return pc_csv.read_csv(pa.BufferReader(content))
        except pa.ArrowInvalid as error:
            raise InputError(f"pairs '{location}' are not CSV: {' '.join(str(error).split())}") from error
    return _parquet(location)


def _parquet(location: str) -> pa.Table:
    content = read_bytes(location, "pairs")
    try:
        return pq.read_table(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise InputError(f"pairs '{location}' are neither Parquet nor named .csv: {error}") from error
