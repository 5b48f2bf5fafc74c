"""The vocabulary that belongs to a model: the one given, or the one that lies in the data set it was trained on."""

import pyarrow as pa
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.interchange.classes import read_vocabulary
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location
from ml_images.train.trained import Trained

_OF_DATASET = "_vocabulary"


def find_vocabulary(given: str, trained: Trained, *datasets: str) -> pa.Table | None:
    """The vocabulary (schemas.VOCABULARY): table or file `given`, else that of the first of `datasets` and of the data
    set of the run which is there; None where none is.

    Raises InputError for one that cannot be read, and one of another number of classes than `trained` has.
    """
    if given:
        return _fitting(_read(given), given, trained)
    for dataset in (*datasets, str(trained.run["data"].get("path") or "")):
        location = join(dataset, _OF_DATASET)
        if dataset and _is_file(location):
            return _fitting(tables.read_part(location), location, trained)
    return None


def class_names(vocabulary: pa.Table | None, num_classes: int) -> list[str]:
    """One name a class; its number where no vocabulary is known."""
    if vocabulary is None:
        return [str(number) for number in range(num_classes)]
    ids, names = vocabulary["id"].to_pylist(), vocabulary["names"].to_pylist()
    return [told[0] if told else id for id, told in zip(ids, names, strict=True)]


def _read(location: str) -> pa.Table:
    if tables.read_json(join(location, tables.MARK)) is not None:
        return tables.read_table(location, "vocabulary")
    return read_vocabulary(location, "auto")


def _fitting(vocabulary: pa.Table, location: str, trained: Trained) -> pa.Table:
    if len(vocabulary) != trained.num_classes:
        raise InputError(
            f"vocabulary '{location}' has {len(vocabulary)} classes, the checkpoint {trained.num_classes}: give the "
            "one it was trained with as vocabulary=..."
        )
    return vocabulary


def _is_file(location: str) -> bool:
    try:
        filesystem, path = open_location(location)
    except InputError:  # the store of a run's data set, which need not be reached from here
        return False
    return bool(filesystem.get_file_info(path).type == fs.FileType.File)
