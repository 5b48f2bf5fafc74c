"""Label arrays to record batches of the `labels` table."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas


def to_label_batch(
    keys: Sequence[str],
    source: str,
    offsets: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int32],
    confidences: npt.NDArray[np.float32],
    origins: npt.NDArray[np.int8],
) -> pa.RecordBatch:
    """One row for each key, by schemas.LABELS. offsets: (rows + 1); the labels of each row ascend by class."""
    assert len(offsets) == len(keys) + 1
    starts = pa.array(offsets, pa.int32())  # Arrow lists count in 32 bits; more than 2^31 labels raise ArrowInvalid
    columns = [
        pa.array(keys, pa.string()),
        pa.array([source] * len(keys), pa.string()),
        pa.ListArray.from_arrays(starts, pa.array(classes, pa.int32())),
        pa.ListArray.from_arrays(starts, pa.array(confidences, pa.float32())),
        pa.ListArray.from_arrays(starts, pa.array(origins, pa.int8())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.LABELS)
