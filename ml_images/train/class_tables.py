"""What a data set says about its classes: names, places in the hierarchy, and how many training images have them.

The vocabulary lies in the data set; the counts are in the table labels_per_split, which jobs/materialize.py writes
beside it. Either may be missing, where a data set came from elsewhere or was moved alone.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.manifest import MANIFEST
from ml_images.storage.paths import join, open_location
from ml_images.train.dataset import Split

COUNTS = "labels_per_split"
_VOCABULARY = "_vocabulary"


class Hierarchy(NamedTuple):
    """Where each class stands."""

    depths: NDArray[np.int64]  # (classes,), roots 0
    leaves: NDArray[np.bool_]  # (classes,)


def read_hierarchy(split: Split) -> Hierarchy | None:
    """From the vocabulary of the data set of `split`; None where it has none. Raises InputError for another's."""
    vocabulary = _read_vocabulary(split, ["parents", "depth"])
    if vocabulary is None:
        return None
    leaves = np.ones(len(vocabulary), bool)
    leaves[list(itertools.chain.from_iterable(vocabulary["parents"].to_pylist()))] = False
    return Hierarchy(np.array(vocabulary["depth"].to_pylist(), np.int64), leaves)


def read_class_names(split: Split) -> list[str] | None:
    """The first name of each class, from the vocabulary of the data set of `split`; None where it has none. Raises
    InputError for another's."""
    vocabulary = _read_vocabulary(split, ["id", "names"])
    return None if vocabulary is None else first_names(vocabulary)


def first_names(vocabulary: pa.Table) -> list[str]:
    """What to call each class of a vocabulary (schemas.VOCABULARY): its first name, or its id where it has none."""
    ids, names = vocabulary["id"].to_pylist(), vocabulary["names"].to_pylist()
    return [told[0] if told else id for id, told in zip(ids, names, strict=True)]


def read_training_images(split: Split) -> NDArray[np.int64] | None:
    """int64 (classes,): images of the training split on which each class is present; None where nobody wrote it down.

    Raises InputError for a table that cannot be of this data set, or is of another state of it.
    """
    location = join(_data_set(split).rpartition("/")[0], COUNTS)
    if not tables.is_done(location):
        return None
    counts = np.zeros(split.num_classes, np.int64)
    for row in tables.read_table(location, COUNTS).to_pylist():
        if row["split"] != "train":
            continue
        if not (row["class"] < split.num_classes and row["images"] <= split.rows):
            raise InputError(
                f"{location} says {row['images']} images of class {row['class']}, {split.location} has {split.rows} "
                f"rows and {split.num_classes} classes: it is of another data set"
            )
        counts[row["class"]] = row["images"]
    manifest: dict[str, Any] = tables.read_json(join(_data_set(split), MANIFEST)) or {}
    promised = manifest.get("labels", {}).get("train")  # not there in earlier versions
    if promised is not None and counts.sum() != promised:
        raise InputError(
            f"{location} counts {counts.sum()} labels of the training split, the manifest of the data set beside it "
            f"{promised}: jobs/materialize.py was cut off; run it again with append=true"
        )
    return counts


def _read_vocabulary(split: Split, columns: list[str]) -> pa.Table | None:
    location = join(_data_set(split), _VOCABULARY)
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type != fs.FileType.File:
        return None
    vocabulary = tables.read_part(location, columns)
    if len(vocabulary) != split.num_classes:
        raise InputError(f"{location} has {len(vocabulary)} classes, the manifest beside it {split.num_classes}")
    return vocabulary


def _data_set(split: Split) -> str:
    return split.location.rpartition("/")[0]
