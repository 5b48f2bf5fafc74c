"""Small pictures for the page, out of a data set."""

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.images.config import ImageConfig
from ml_images.images.resize import shrink
from ml_images.report.contents import Thumbnail
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

THUMBNAILS, THUMBNAIL_SIDE, THUMBNAIL_LABELS = 24, 128, 4


def thumbnails(dataset: str, vocabulary: pa.Table) -> tuple[Thumbnail, ...]:
    """Small pictures of the first rows of the data set (its order is random) with their most specific labels."""
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    depths = vocabulary["depth"].to_pylist()
    config = ImageConfig(short_side=THUMBNAIL_SIDE, quality=80)
    made: list[Thumbnail] = []
    for name in tables.parts(dataset):
        filesystem, path = open_location(join(dataset, name))
        rows = pq.ParquetFile(filesystem.open_input_file(path)).iter_batches(THUMBNAILS)
        for row in next(rows).select(["key", "image", "classes", "confidences"]).to_pylist():
            positive = [c for c, conf in zip(row["classes"], row["confidences"], strict=True) if conf > 0]
            deepest = sorted(positive, key=lambda c: (-depths[c], c))[:THUMBNAIL_LABELS]
            jpeg = shrink(row["image"], config).data
            made.append(Thumbnail(row["key"], jpeg, tuple(names[c] for c in deepest)))
            if len(made) == THUMBNAILS:
                return tuple(made)
    return tuple(made)
