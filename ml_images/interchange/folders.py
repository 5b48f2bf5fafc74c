"""Where a picture lies in an ImageFolder, and the listing beside it that says all of its labels.

    <split>/<class, padded with zeros>/<safe key>.jpg
    without_class/<split>/<safe key>.jpg                 no positive label, so no class could hold it
    labels/<split>/000000.parquet                        LISTING: a row for each picture

The number in a folder's name is the class. Readers that number the folders that are there (torchvision's ImageFolder)
get other numbers where a class has no picture.
"""

import numpy as np
import pyarrow as pa

from ml_images.hierarchy.ancestors import Ancestors
from ml_images.interchange.safe_names import safe_name
from ml_images.interchange.sample import Classes, Confidences

LISTINGS = "labels"
WITHOUT_CLASS = "without_class"

LISTING = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),  # path below the ImageFolder
        pa.field("key", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("classes", pa.list_(pa.int32()), nullable=False),
        pa.field("confidences", pa.list_(pa.float32()), nullable=False),
    ]
)


def file_of(split: str, key: str, class_: int | None, num_classes: int) -> str:
    """The path of a picture below the ImageFolder; class_ as `main_class` gives it."""
    name = f"{safe_name(key)}.jpg"
    if class_ is None:
        return f"{WITHOUT_CLASS}/{split}/{name}"
    return f"{split}/{folder_of(class_, num_classes)}/{name}"


def folder_of(class_: int, num_classes: int) -> str:
    """The folder's name: as many digits as the highest class has, so that names sort as the classes do."""
    return f"{class_:0{len(str(max(0, num_classes - 1)))}d}"


def main_class(classes: Classes, confidences: Confidences, ancestors: Ancestors) -> int | None:
    """The one class that a picture of several lies under; None where no label is positive.

    Of the positive labels those without another one below them (else every picture lay under a root), of these the
    surest, then the deepest, then the one with the lowest number.
    """
    positive = np.flatnonzero(confidences > 0)
    above: set[int] = set()
    for class_ in classes[positive]:
        above.update(ancestors.indices[ancestors.indptr[class_] : ancestors.indptr[class_ + 1]].tolist())
    lowest = [(-confidences[i], -ancestors.depths[classes[i]], int(classes[i])) for i in positive]
    return min((entry for entry in lowest if entry[2] not in above), default=(0, 0, None))[2]
