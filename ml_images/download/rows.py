"""From results to rows of the `images` table."""

from collections.abc import Sequence
from typing import Any

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
    return pa.RecordBatch.from_arrays([pa.array(columns[field.name], field.type) for field in IMAGES], schema=IMAGES)
