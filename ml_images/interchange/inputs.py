"""Finds what a user wants to be read: files, patterns and folders of TFRecords or tars, ImageFolders.

A folder stands for the files of its format below it. A file's split is the name of its folder, if that is one. An
ImageFolder has the form root/split/class/pictures or root/class/pictures; one of jobs/export.py also has listings,
which then say what is in it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pyarrow import fs

from ml_images.archives.files import list_folder, look_at
from ml_images.archives.find import kind_of
from ml_images.archives.names import is_archive_name, text_of
from ml_images.errors import InputError
from ml_images.interchange.folders import LISTINGS
from ml_images.schemas import SPLITS
from ml_images.storage import tables
from ml_images.storage.paths import expand, join, open_location, resolve

Format = Literal["tfrecord", "webdataset", "imagefolder"]

VOCABULARY_FILE = "vocabulary.parquet"

_TFRECORD = (".tfrecord", ".tfrecords", ".tfrec")


@dataclass(frozen=True)
class Input:
    """A file (or a class's folder) that one task reads."""

    kind: str  # tfrecord, webdataset, listing (of an ImageFolder) or folder (of one class)
    source: str  # as the user spelled it, as text
    location: str  # where any process finds it; a path that is not UTF-8 has surrogates
    split: str  # "" where nothing says so
    folder: str = ""  # of a class: its name, as text


def find_inputs(patterns: list[str], format: Format) -> list[Input]:
    """What to read, in the order of the patterns, sorted within one, each once. InputError for what does not exist, is
    no such thing or is unfinished, and if there is nothing."""
    found: dict[str, Input] = {}
    for pattern in patterns:
        for source in expand(pattern, "input"):
            for one in _inputs_of(source, format):
                found.setdefault(one.location, one)
    if not found:
        raise InputError(f"no {_ACCEPTED[format]} in {', '.join(patterns) or 'no input'}")
    return list(found.values())


def refuse_inside(output: str, inputs: Iterable[Input]) -> None:
    """InputError where `output` lies in an ImageFolder: the next run would take it for the folder of a class."""
    for one in inputs:
        around = one.location.rsplit("/", 2 if one.split else 1)[0]
        if one.folder and f"{output}/".startswith(f"{around}/"):
            raise InputError(
                f"output '{output}' lies in the ImageFolder '{text_of(around)}': choose a folder outside of it"
            )


def find_vocabulary(patterns: list[str]) -> str | None:
    """The location of the vocabulary that lies in the first of the folders, as jobs/export.py writes it."""
    for pattern in patterns:
        location = join(pattern, VOCABULARY_FILE)
        filesystem, path = open_location(location)
        if look_at(filesystem, path).type == fs.FileType.File:
            return resolve(location)
    return None


_ACCEPTED = {
    "tfrecord": f"files that end with {', '.join(_TFRECORD)}",
    "webdataset": "files that end with .tar or .tar.gz, .tgz, .tar.bz2, .tar.xz, .tar.zst",
    "imagefolder": "folders of classes, or of splits with folders of classes",
}


def _inputs_of(source: str, format: Format) -> Iterator[Input]:
    filesystem, path = open_location(source)
    kind = look_at(filesystem, path).type
    if kind == fs.FileType.NotFound:
        raise InputError(f"input '{source}' does not exist")
    if kind == fs.FileType.Directory:
        root = source.rstrip("/") or "/"
        if tables.read_json(join(root, tables.MARK)) is not None:
            tables.require(root, "export")
        if format == "imagefolder":
            yield from _image_folder(filesystem, root, path)
        else:
            yield from _files_below(filesystem, root, path, format)
    elif format == "imagefolder":
        raise InputError(f"input '{source}' is a file; accepted: {_ACCEPTED[format]}")
    elif kind == fs.FileType.File and (format == "tfrecord" or _is_of(path, format)):
        yield _input(format, source, _folder_name(path))
    else:
        raise InputError(f"input '{source}' is none that can be read; accepted: {_ACCEPTED[format]}")


def _files_below(filesystem: fs.FileSystem, source: str, path: str, format: Format) -> Iterator[Input]:
    split = path.rsplit("/", 1)[-1]
    for name, is_folder in _visible(filesystem, path):
        if is_folder:
            yield from _files_below(filesystem, f"{source}/{name}", f"{path}/{name}", format)
        elif _is_of(name, format):
            yield _input(format, f"{source}/{name}", split)


def _is_of(name: str, format: Format) -> bool:
    if format == "tfrecord":
        return name.endswith(_TFRECORD)
    return is_archive_name(name) and kind_of(name) != "zip"


def _image_folder(filesystem: fs.FileSystem, source: str, path: str) -> Iterator[Input]:
    if look_at(filesystem, f"{path}/{LISTINGS}").type == fs.FileType.Directory:
        listings = list(_listings(filesystem, f"{source}/{LISTINGS}", f"{path}/{LISTINGS}"))
        if listings:
            yield from listings
            return
    folders = [name for name, is_folder in _visible(filesystem, path) if is_folder]
    splits = [name for name in folders if name in SPLITS and _is_split(filesystem, f"{path}/{name}")]
    if splits and len(splits) < len(folders):
        other = next(name for name in folders if name not in splits)
        raise InputError(f"input '{source}' has the splits {', '.join(splits)} and '{text_of(other)}', which is none")
    for split in splits:
        for name, is_folder in _visible(filesystem, f"{path}/{split}"):
            if is_folder:
                yield _input("folder", f"{source}/{split}/{name}", split, name)
    if not splits:
        for name in folders:
            yield _input("folder", f"{source}/{name}", "", name)


def _is_split(filesystem: fs.FileSystem, path: str) -> bool:
    """Is this folder, which is called like a split, one? A class may be called "train" as well, but holds pictures."""
    entries = _visible(filesystem, path)
    return not entries or any(is_folder for _, is_folder in entries)


def _listings(filesystem: fs.FileSystem, source: str, path: str) -> Iterator[Input]:
    for split, is_folder in _visible(filesystem, path):
        if is_folder and split in SPLITS:
            for name, _ in _visible(filesystem, f"{path}/{split}"):
                if name.endswith(".parquet"):
                    yield _input("listing", f"{source}/{split}/{name}", split)


def _visible(filesystem: fs.FileSystem, path: str) -> list[tuple[str, bool]]:
    """(name, is it a folder) of what lies in a folder, by name, without what is hidden or ours (staged)."""
    entries = list_folder(filesystem, path)
    return sorted((entry.name, entry.is_folder) for entry in entries if not entry.name.startswith((".", "_")))


def _input(kind: str, source: str, split: str, folder: str = "") -> Input:
    return Input(kind, text_of(source), resolve(source), split if split in SPLITS else "", text_of(folder))


def _folder_name(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]
