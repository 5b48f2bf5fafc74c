"""What one input holds, picture by picture: bytes as they lie there, trusted in nothing.

Places and files that are damaged end in an InputError of one line, as a data set of which a part is missing is none; a
picture that is missing, no regular file or too long is a row with its outcome.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import fs

from ml_images.archives.files import list_folder, look_at
from ml_images.archives.find import kind_of
from ml_images.archives.names import danger_of, text_of
from ml_images.archives.read import Member
from ml_images.archives.stream import FileStream, open_file, open_path, unpacked
from ml_images.errors import InputError
from ml_images.interchange.folders import LISTING
from ml_images.interchange.inputs import Input
from ml_images.interchange.layouts import decode_sample
from ml_images.interchange.records import read_records
from ml_images.interchange.sample import Found, check_classes, checked_labels, shown
from ml_images.interchange.webdataset import PICTURES, read_samples
from ml_images.storage import tables
from ml_images.storage.paths import open_location

_CERTAIN = np.ones(1, np.float32)


def read_input(
    input: Input, classes: Mapping[str, int], num_classes: int | None, max_bytes: int, max_ratio: float
) -> Iterator[Found]:
    """Everything in one input. classes: of a folder's name; num_classes: of the vocabulary, if there is one."""
    if input.kind == "tfrecord":
        yield from _read_records(input, num_classes, max_bytes)
    elif input.kind == "webdataset":
        yield from _read_tar(input, num_classes, max_bytes, max_ratio)
    elif input.kind == "listing":
        yield from _read_listing(input, num_classes, max_bytes)
    else:
        yield from _read_class(input, classes[input.folder], max_bytes)


def _read_records(input: Input, num_classes: int | None, max_bytes: int) -> Iterator[Found]:
    with open_file(input.location) as (file, size):
        for start, data in read_records(file, size, input.source):
            try:
                sample = decode_sample(data, num_classes)
            except ValueError as error:
                raise InputError(f"'{input.source}' at byte {start}: {error}") from error
            place = f"{input.source} at byte {start}"
            yield Found(_bounded(sample.key, place, sample.image, max_bytes), (sample.classes, sample.confidences))


def _read_tar(input: Input, num_classes: int | None, max_bytes: int, max_ratio: float) -> Iterator[Found]:
    kind = kind_of(input.source)
    with open_file(input.location) as (file, size):
        if kind == "tar":
            yield from read_samples(FileStream(file, size), input.source, max_bytes, num_classes)
        else:
            with unpacked(file, kind, max_ratio) as plain:
                yield from read_samples(plain, input.source, max_bytes, num_classes)


def _read_listing(input: Input, num_classes: int | None, max_bytes: int) -> Iterator[Found]:
    root = input.location.rsplit("/", 3)[0]  # root/labels/split/000000.parquet
    filesystem, path = open_location(root)
    for batch in _listing_batches(input):
        if any(batch.column(name).null_count for name in LISTING.names):
            raise InputError(f"'{input.source}' has nulls")
        for row in batch.to_pylist():
            try:
                labels = checked_labels(row["classes"], row["confidences"])
                check_classes(labels[0], num_classes)
            except (ValueError, TypeError) as error:
                raise InputError(f"'{input.source}', file '{shown(row['file'])}': {error}") from error
            place = f"{root}/{row['file']}"
            danger = danger_of(row["file"])
            if danger:
                yield Found(Member(row["key"], place, None, "unsafe_member", danger), labels)
            else:
                yield Found(_read_picture(filesystem, f"{path}/{row['file']}", row["key"], place, max_bytes), labels)


def _listing_batches(input: Input) -> Iterator[pa.RecordBatch]:
    try:
        for batch in tables.read_batches(input.location, LISTING.names):
            yield from pa.Table.from_batches([batch]).cast(LISTING).to_batches()
    except (OSError, pa.ArrowException, ValueError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"'{input.source}' is no listing of jobs/export.py ({told})") from error


def _read_class(input: Input, class_: int, max_bytes: int) -> Iterator[Found]:
    filesystem, path = open_location(input.location)
    root = f"{input.split}/{input.folder}" if input.split else input.folder
    labels = np.array([class_], np.int32), _CERTAIN
    for name in _pictures_below(filesystem, path, ""):
        key, place = f"{root}/{text_of(name)}", f"{input.source}/{text_of(name)}"
        yield Found(_read_picture(filesystem, f"{path}/{name}", key, place, max_bytes), labels)


def _pictures_below(filesystem: fs.FileSystem, path: str, within: str) -> Iterator[str]:
    """Paths below a class's folder of the files whose name ends as that of a picture, by name, at any depth."""
    for entry in sorted(list_folder(filesystem, f"{path}/{within}".rstrip("/")), key=lambda entry: entry.name):
        if entry.is_folder:
            yield from _pictures_below(filesystem, path, f"{within}{entry.name}/")
        elif entry.name.rpartition(".")[2].lower() in PICTURES:
            yield within + entry.name


def _read_picture(filesystem: fs.FileSystem, path: str, key: str, place: str, max_bytes: int) -> Member:
    special, size = _look(filesystem, path)
    if special == "missing":
        return Member(key, place, None, "not_in_archive", "no such file")
    if special:
        return Member(key, place, None, "unsafe_member", special)
    if size > max_bytes:
        return Member(key, place, None, "too_large", f"{size} bytes, max_bytes is {max_bytes}")
    with open_path(filesystem, path) as (file, _):
        return _bounded(key, place, file.read(max_bytes + 1), max_bytes)


def _look(filesystem: fs.FileSystem, path: str) -> tuple[str, int]:
    """(why a file is not read, or "", bytes)."""
    if isinstance(filesystem, fs.LocalFileSystem) and Path(path).is_symlink():
        return "symbolic link", 0
    found = look_at(filesystem, path)
    if found.type == fs.FileType.NotFound:
        return "missing", 0
    return ("" if found.type == fs.FileType.File else "no regular file"), found.size


def _bounded(key: str, place: str, data: bytes, max_bytes: int) -> Member:
    if len(data) > max_bytes:
        return Member(key, place, None, "too_large", f"{len(data)} bytes, max_bytes is {max_bytes}")
    return Member(key, place, data)
