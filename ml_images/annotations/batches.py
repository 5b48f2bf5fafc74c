"""Label arrays to record batches of the `labels` table, and back."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas

Int64 = npt.NDArray[np.int64]


def to_label_batch(
    keys: pa.StringArray,
    sources: pa.StringArray,
    offsets: Int64,
    classes: npt.NDArray[np.int32],
    confidences: npt.NDArray[np.float32],
    origins: npt.NDArray[np.int8],
) -> pa.RecordBatch:
    """One row for each key, by schemas.LABELS. offsets: (rows + 1); the labels of each row ascend by class."""
    assert len(offsets) == len(keys) + 1
    starts = pa.array(offsets, pa.int32())  # Arrow lists count in 32 bits; more than 2^31 labels raise ArrowInvalid
    columns = [
        keys,
        sources,
        pa.ListArray.from_arrays(starts, pa.array(classes, pa.int32())),
        pa.ListArray.from_arrays(starts, pa.array(confidences, pa.float32())),
        pa.ListArray.from_arrays(starts, pa.array(origins, pa.int8())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.LABELS)


def take_rows(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """(offsets, places of the labels) of `rows` (indices, any order) of lists that `offsets` (rows + 1) delimits."""
    counts = offsets[rows + 1] - offsets[rows]
    taken = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=taken[1:])
    return taken, np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], counts)
