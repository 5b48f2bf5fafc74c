"""FileMetaData of a part: the schema as pyarrow writes it for schemas.LABELS, and the row groups.

Field numbers: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import base64
from collections.abc import Sequence

import pyarrow as pa

import ml_images
from ml_images import schemas
from ml_images.storage.label_parquet.chunks import BYTE_ARRAY, FLOAT, INT32
from ml_images.storage.label_parquet.thrift import Value, boolean, i8, i32, i64, listing, string, struct

_REQUIRED, _OPTIONAL, _REPEATED = range(3)
_UTF8, _LIST, _INT_8 = 0, 3, 15  # converted types, for readers that know no logical ones
_VERSION = 2  # what pyarrow writes for 2.6


def footer(rows: int, row_groups: Sequence[Value]) -> bytes:
    """What lies between the last page and the footer's length."""
    elements = [struct({3: i32(_REQUIRED), 4: string("schema"), 5: i32(len(schemas.LABELS))})]
    for field in schemas.LABELS:
        elements += _elements(field)
    leaves = len(schemas.LABELS)
    arrow = base64.b64encode(schemas.LABELS.serialize().to_pybytes()).decode()
    by_type = struct({1: struct({})})  # bounds are in the order of the type: without this readers pass over them
    return struct(
        {
            1: i32(_VERSION),
            2: listing(elements),
            3: i64(rows),
            4: listing(row_groups) if row_groups else Value(9, b"\x0c"),
            5: listing([struct({1: string("ARROW:schema"), 2: string(arrow)})]),
            6: string(f"ml-images version {ml_images.__version__} (build 0)"),
            7: listing([by_type] * leaves),
        }
    ).payload


def _elements(field: pa.Field) -> list[Value]:
    assert not field.nullable
    if not pa.types.is_list(field.type):
        return [_leaf(field.name, field.type, _REQUIRED)]
    return [
        struct({3: i32(_REQUIRED), 4: string(field.name), 5: i32(1), 6: i32(_LIST), 10: struct({3: struct({})})}),
        struct({3: i32(_REPEATED), 4: string("list"), 5: i32(1)}),
        _leaf("element", field.type.value_type, _OPTIONAL),
    ]


def _leaf(name: str, kind: pa.DataType, repetition: int) -> Value:
    physical, converted, logical = _TYPES[kind]
    return struct({1: i32(physical), 3: i32(repetition), 4: string(name), 6: converted, 10: logical})


_TYPES: dict[pa.DataType, tuple[int, Value | None, Value | None]] = {
    pa.string(): (BYTE_ARRAY, i32(_UTF8), struct({1: struct({})})),
    pa.int32(): (INT32, None, None),
    pa.float32(): (FLOAT, None, None),
    pa.int8(): (INT32, i32(_INT_8), struct({10: struct({1: i8(8), 2: boolean(True)})})),
}
