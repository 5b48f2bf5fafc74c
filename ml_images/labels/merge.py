"""One label row for each key: what becomes of an image that the lists name several times.

The same URL stands in several rows with different tags, and one ImageNet picture under several ids. The merged row
has the union of their classes, each with its highest confidence, so that known beats unknown (-1) and seen beats
absent (0), and with the origin of the row that it came from; of equals the lowest origin (GIVEN before ANCESTOR). Its
source is the first by name. None of this depends on the order of the rows, which no engine promises after a shuffle.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_images import schemas

_ROW = pa.struct([schemas.LABELS.field(name) for name in ("source", "classes", "confidences", "origins")])

# What a caller groups: labels.groupBy("key").agg(collect_list(struct(source, classes, confidences, origins)) as rows).
GROUPED = pa.schema([schemas.LABELS.field("key"), pa.field("rows", pa.list_(_ROW), nullable=False)])


def merge_duplicates(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch by GROUPED, at least one row for each key, to a batch by schemas.LABELS with as many rows."""
    groups = batch.column(batch.schema.get_field_index("rows"))
    rows = groups.flatten()
    rows_in_group = pc.list_value_length(groups).to_numpy(zero_copy_only=False)
    assert (rows_in_group > 0).all(), "a key without any row"
    group_of_row = np.repeat(np.arange(len(groups)), rows_in_group)

    columns = [rows.field(rows.type.get_field_index(name)) for name in ("classes", "confidences", "origins")]
    group = np.repeat(group_of_row, pc.list_value_length(columns[0]).to_numpy(zero_copy_only=False))
    classes, confidences, origins = (column.flatten().to_numpy() for column in columns)
    order = np.lexsort((origins, -confidences, classes, group))
    group, classes = group[order], classes[order]
    first = np.ones(len(order), bool)
    first[1:] = (group[1:] != group[:-1]) | (classes[1:] != classes[:-1])
    kept = order[first]

    offsets = np.zeros(len(groups) + 1, np.int64)
    np.cumsum(np.bincount(group[first], minlength=len(groups)), out=offsets[1:])
    starts = pa.array(offsets, pa.int32())
    merged = [
        batch.column(batch.schema.get_field_index("key")),
        _first_source(rows.field(rows.type.get_field_index("source")), group_of_row),
        pa.ListArray.from_arrays(starts, pa.array(classes[first], pa.int32())),
        pa.ListArray.from_arrays(starts, pa.array(confidences[kept], pa.float32())),
        pa.ListArray.from_arrays(starts, pa.array(origins[kept], pa.int8())),
    ]
    return pa.RecordBatch.from_arrays(merged, schema=schemas.LABELS)


def _first_source(sources: pa.Array, group_of_row: np.ndarray) -> pa.Array:
    rows = pa.table({"group": group_of_row, "source": sources})
    # One thread: groups then come out in the order in which they come in.
    return rows.group_by("group", use_threads=False).aggregate([("source", "min")])["source_min"].combine_chunks()
