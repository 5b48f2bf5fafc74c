"""Looks at files and folders whose names need not be UTF-8: local ones by Python, as Arrow takes and lists only UTF-8.

In paths such a name has surrogates, as everywhere in Python; what is stored or shown of it is names.text_of.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyarrow import fs

_LATEST_NS = (1 << 63) - 1  # in 2262; what a table holds, where ext4 knows dates up to 2446


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path, behind links."""

    type: fs.FileType
    size: int  # bytes; 0 for a folder
    changed_ns: int  # 0 where the file system does not tell


@dataclass(frozen=True, slots=True)
class Listed:
    """What a folder holds; links to folders are not followed and so no folders."""

    name: str
    is_folder: bool
    look: Callable[[], tuple[str | None, int]]  # what it is, if no regular file, and its bytes
    state: Callable[[], int]  # a number that changes when it is written again


def look_at(filesystem: fs.FileSystem, path: str) -> Found:
    if not isinstance(filesystem, fs.LocalFileSystem):
        info = filesystem.get_file_info(path)
        return Found(info.type, info.size or 0, info.mtime_ns or 0)
    try:
        told = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return Found(fs.FileType.NotFound, 0, 0)
    changed_ns = max(-_LATEST_NS, min(told.st_mtime_ns, _LATEST_NS))
    if stat.S_ISDIR(told.st_mode):
        return Found(fs.FileType.Directory, 0, changed_ns)
    return Found(_type_of(told.st_mode), told.st_size, changed_ns)


def list_folder(filesystem: fs.FileSystem, path: str) -> list[Listed]:
    """What lies directly in a folder, in no order."""
    if isinstance(filesystem, fs.LocalFileSystem):
        with os.scandir(path) as entries:  # no stat of each of ImageNet's files
            return [
                Listed(entry.name, entry.is_dir(follow_symlinks=False), partial(_look, entry), partial(_state, entry))
                for entry in entries
            ]
    infos = filesystem.get_file_info(fs.FileSelector(path))
    return [
        Listed(info.base_name, info.type == fs.FileType.Directory, partial(_told, info), partial(_told_state, info))
        for info in infos
    ]


def _look(entry: "os.DirEntry[str]") -> tuple[str | None, int]:
    if entry.is_symlink():
        return "symbolic link", 0
    told = entry.stat(follow_symlinks=False)
    return _special(_type_of(told.st_mode)), told.st_size


def _state(entry: "os.DirEntry[str]") -> int:
    told = entry.stat(follow_symlinks=False)
    return told.st_mtime_ns + told.st_size


def _told_state(info: fs.FileInfo) -> int:
    return (info.mtime_ns or 0) + (info.size or 0)


def _told(info: fs.FileInfo) -> tuple[str | None, int]:
    return _special(info.type), info.size or 0


def _special(type_: fs.FileType) -> str | None:
    return None if type_ == fs.FileType.File else "no regular file"


def _type_of(mode: int) -> fs.FileType:
    return fs.FileType.File if stat.S_ISREG(mode) else fs.FileType.Unknown
