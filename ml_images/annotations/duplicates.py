"""What becomes of an image that the lists name in several rows: one row, under one of three policies.

The same URL stands in several published rows with different tags, and one ImageNet picture under several ids.

merge   the tags of all its rows, as if one row after the other had been written in one line: a class that several of
        them have keeps its first place and its highest confidence (known beats unknown, seen beats absent); that one
        of them says absent is kept beside it, for who wants to know (hierarchy/negatives.py)
first   the first row; the others are rejected
error   an error that names the two places of one such key

First means: in the order of the lists as given, then by line. The hierarchy is applied afterwards, to the one row.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_images import schemas
from ml_images.annotations import reasons
from ml_images.annotations.scanner import Float32, Int8, Int32, Int64
from ml_images.annotations.take import take_rows
from ml_images.compiled import compiled

Duplicates = Literal["merge", "first", "error"]

# Rows of keys that may stand in several rows. `piece` numbers the pieces of the lists in their order.
SET_ASIDE = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("piece", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("classes", pa.list_(pa.int32()), nullable=False),
        pa.field("confidences", pa.list_(pa.float32()), nullable=False),
        pa.field("absent", pa.list_(pa.int8()), nullable=False),
    ]
)


@dataclass(frozen=True, eq=False)
class Resolved:
    """One row for each key, with its labels in source order and without duplicates, and what became of the others."""

    keys: pa.StringArray
    sources: pa.StringArray
    offsets: Int64  # (rows + 1)
    classes: Int32
    confidences: Float32
    absent: Int8  # as in annotations.rows.Parsed, of any row of the key
    merged: int  # rows that are now part of another
    repeated: int  # labels that merging dropped, as another row of the key has their class
    labels_rejected: int  # of the rows in `rejects`
    rejects: pa.RecordBatch  # schemas.REJECTS
    example: str | None  # of a key in several rows and two of its places


def resolve_duplicates(rows: pa.Table, policy: Duplicates, num_classes: int) -> Resolved:
    """The rows of SET_ASIDE, all that there are of each key and in any order, with each key once."""
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in ("key", "piece", "line")])
    rows = rows.take(order).combine_chunks()
    keys = rows["key"].combine_chunks()
    is_first = np.ones(len(rows), bool)
    if len(rows) > 1:
        is_first[1:] = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(is_first)
    again = np.flatnonzero(~is_first)

    lists = rows["classes"].combine_chunks()
    offsets = lists.offsets.to_numpy().astype(np.int64) - lists.offsets[0].as_py()
    classes = lists.flatten().to_numpy()
    confidences = rows["confidences"].combine_chunks().flatten().to_numpy()
    absent = rows["absent"].combine_chunks().flatten().to_numpy()
    num_given = len(classes)
    if policy == "first":
        offsets, places = take_rows(offsets, firsts)
        classes, confidences, absent = classes[places], confidences[places], absent[places]
    else:
        bounds = offsets[np.append(firsts, len(rows))]
        offsets, classes, confidences, absent = drop_duplicates(bounds, classes, confidences, absent, num_classes)
    rejected = rows.take(again if policy == "first" else again[:0])
    return Resolved(
        keys.take(firsts),
        rows["source"].combine_chunks().take(firsts),
        offsets,
        classes,
        confidences,
        absent,
        0 if policy == "first" else len(again),
        0 if policy == "first" else num_given - len(classes),
        num_given - len(classes) if policy == "first" else 0,
        _rejects(rejected),
        _example(rows, int(again[0])) if len(again) else None,
    )


def _example(rows: pa.Table, second: int) -> str:
    first, again = rows.slice(second - 1, 2).select(["key", "source", "line"]).to_pylist()
    return f"'{first['key']}' ({first['source']}:{first['line']} and {again['source']}:{again['line']})"


def _rejects(rows: pa.Table) -> pa.RecordBatch:
    reason = pa.array([reasons.DUPLICATE_KEY] * len(rows), pa.string())
    columns = [rows[name].combine_chunks() for name in ("source", "line", "text")]
    return pa.RecordBatch.from_arrays([*columns, reason, pa.nulls(len(rows), pa.binary())], schema=schemas.REJECTS)


def drop_duplicates(
    offsets: Int64, classes: Int32, confidences: Float32, absent: Int8, num_classes: int
) -> tuple[Int64, Int32, Float32, Int8]:
    """The labels, each class once a row, at its first place, with its highest confidence, absent where any is."""
    kept_offsets = np.zeros(len(offsets), np.int64)
    out = np.empty_like(classes), np.empty_like(confidences), np.empty_like(absent)
    kept = _drop_duplicates(offsets, classes, confidences, absent, num_classes, kept_offsets, *out)
    kept_classes, kept_confidences, kept_absent = out
    return kept_offsets, kept_classes[:kept], kept_confidences[:kept], kept_absent[:kept]


@compiled
def _drop_duplicates(
    offsets: Int64,
    classes: Int32,
    confidences: Float32,
    absent: Int8,
    num_classes: int,
    kept_offsets: Int64,
    kept_classes: Int32,
    kept_confidences: Float32,
    kept_absent: Int8,
) -> int:
    row_of_class = np.full(num_classes, -1, np.int64)
    place_of_class = np.empty(num_classes, np.int64)
    kept = 0
    for row in range(len(offsets) - 1):
        for label in range(offsets[row], offsets[row + 1]):
            c = classes[label]
            if row_of_class[c] == row:
                place = place_of_class[c]
                kept_confidences[place] = max(kept_confidences[place], confidences[label])
                kept_absent[place] |= absent[label]
            else:
                row_of_class[c] = row
                place_of_class[c] = kept
                kept_classes[kept], kept_confidences[kept] = c, confidences[label]
                kept_absent[kept] = absent[label]
                kept += 1
        kept_offsets[row + 1] = kept
    return kept
