"""From results to rows of the `images` table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml_images.download.crawl import Fetched
from ml_images.schemas import IMAGES

_OF_THE_PICTURE = ("phash", "width", "height", "original_width", "original_height", "data")
_OF_THE_RESULT = tuple(name for name in IMAGES.names if name not in _OF_THE_PICTURE)


def to_batch(fetched: Sequence[Fetched]) -> pa.RecordBatch:
    """One row for each result, by the columns of schemas.IMAGES, in their order."""
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in fetched] for name in _OF_THE_RESULT}
    columns["detail"] = [one.detail or None for one in fetched]
    for name in _OF_THE_PICTURE:
        columns[name] = [None if one.picture is None else getattr(one.picture, name) for one in fetched]
    columns["data"] = _joined(columns["data"])
    return pa.RecordBatch.from_arrays([pa.array(columns[field.name], field.type) for field in IMAGES], schema=IMAGES)


def _joined(pictures: Sequence[bytes | None]) -> pa.Array:
    """As pa.array, which grows its buffer and copies anew: 4 instead of 31 microseconds a row of 28 KB."""
    offsets = np.zeros(len(pictures) + 1, np.int64)
    np.cumsum([len(picture or b"") for picture in pictures], out=offsets[1:])
    assert offsets[-1] < 2**31, "more than Arrow's binary can hold"
    is_there = pa.array([picture is not None for picture in pictures], pa.bool_()).buffers()[1]
    joined = b"".join(picture for picture in pictures if picture is not None)
    buffers = [is_there, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(joined)]
    return pa.Array.from_buffers(pa.binary(), len(pictures), buffers)
