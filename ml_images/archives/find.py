"""Finds the archives that a user names: files, patterns, and folders with archives or pictures in them.

A folder stands for every archive below it and, for each folder below it that holds other files, for these files.
The kind of an archive is told by its ending alone; what does not begin as it should is corrupt.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow import fs

from ml_images.archives.files import Found, list_folder, look_at
from ml_images.archives.names import is_archive_name, stem_of, text_of
from ml_images.errors import InputError
from ml_images.storage.paths import expand, open_location, resolve

_ACCEPTED = ".tar, .tar.gz, .tgz, .tar.bz2, .tbz2, .tar.xz, .txz, .tar.zst, .zip or a folder"
_COMPRESSIONS = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "tbz": "bz2", "tbz2": "bz2", "xz": "xz", "txz": "xz"}
_COMPRESSIONS |= {"zst": "zst", "tzst": "zst"}


@dataclass(frozen=True)
class Archive:
    source: str  # as the user spelled it, as text
    location: str  # where any process finds it; a path that is not UTF-8 has surrogates
    kind: str  # tar, zip, folder, or the compression of a tar: gz, bz2, xz, zst
    size: int  # bytes; 0 for a folder
    changed_ns: int  # when it was last written; of a folder a number that changes when one of its files does
    place: tuple[str, ...]  # what the places of its members begin with


def kind_of(name: str) -> str:
    """The kind of archive that a name with an archive's ending tells of."""
    ending = name.rsplit(".", 1)[-1].lower()
    return _COMPRESSIONS.get(ending, ending)


def find_archives(patterns: list[str]) -> list[Archive]:
    """The archives of each pattern in turn, sorted within a pattern, each one once; their order is their rank.

    Raises InputError for what does not exist or is no archive, and if there is none.
    """
    found: dict[str, Archive] = {}
    for pattern in patterns:
        for source in expand(pattern, "archive"):
            for archive in _archives_of(source):
                found.setdefault(archive.location, archive)
    if not found:
        raise InputError(f"no archive was given or found, at least one is needed: {_ACCEPTED}")
    return list(found.values())


def fingerprint(archives: list[Archive]) -> str:
    """Eight hexadecimal digits that change when archives come, go, grow or are written again."""
    told = sorted((archive.location, archive.size, archive.changed_ns) for archive in archives)
    return hashlib.blake2b(json.dumps(told).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _archives_of(source: str) -> Iterator[Archive]:
    filesystem, path = open_location(source)
    info = look_at(filesystem, path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"archive '{source}' does not exist")
    if info.type == fs.FileType.Directory:
        root = source.rstrip("/") or "/"
        yield from _below(filesystem, root, path, (text_of(path.rsplit("/", 1)[-1]),))
    elif info.type == fs.FileType.File and is_archive_name(path):
        yield _file(source, path, info, ())
    else:
        what = "is no archive that can be read" if info.type == fs.FileType.File else "is no regular file"
        raise InputError(f"'{source}' {what}; accepted: {_ACCEPTED}")


def _below(filesystem: fs.FileSystem, source: str, path: str, place: tuple[str, ...]) -> Iterator[Archive]:
    """Archives in the folder at `path` and below it, then its other files, in the order of their names."""
    listed = list_folder(filesystem, path)
    files = [entry.name for entry in listed if not entry.is_folder]
    for name in sorted(name for name in files if is_archive_name(name)):
        info = look_at(filesystem, f"{path}/{name}")
        if info.type == fs.FileType.File:
            yield _file(f"{source}/{name}", name, info, place)
    plain = [entry for entry in listed if not entry.is_folder and not is_archive_name(entry.name)]
    if plain:
        # A folder does not change itself when one of its files is written again; to ask takes 3 microseconds a file.
        state = sum(entry.state() for entry in plain) + look_at(filesystem, path).changed_ns
        yield Archive(text_of(source), resolve(source), "folder", 0, state % (1 << 63), place)
    for name in sorted(entry.name for entry in listed if entry.is_folder):
        yield from _below(filesystem, f"{source}/{name}", f"{path}/{name}", (*place, text_of(name)))


def _file(source: str, path: str, info: Found, place: tuple[str, ...]) -> Archive:
    stem = text_of(stem_of(path))
    return Archive(text_of(source), resolve(source), kind_of(path), info.size, info.changed_ns, (*place, stem))
