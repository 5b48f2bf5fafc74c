"""A location given by a user becomes a file system and a path on it: local paths, file://, s3://, gs://, hdfs://."""

import glob
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ml_images.errors import InputError


def open_location(location: str) -> tuple[fs.FileSystem, str]:
    """(file system, path on it without a trailing slash) for a path or URL."""
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(location)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise InputError(
            f"cannot open location '{location}' ({error}); give a path, file://, s3://, gs:// or hdfs://"
        ) from error
    return filesystem, path.rstrip("/")


def join(location: str, *names: str) -> str:
    """`location` with names appended, also for URLs."""
    return "/".join([location.rstrip("/"), *names])


def absolute(location: str) -> str:
    """`location` as every process of a cluster and every library understands it: a URL, file:// for local paths."""
    return location if "://" in location else Path(location).expanduser().absolute().as_uri()


def find_files(patterns: list[str], what: str) -> list[tuple[str, int]]:
    """(location, bytes) of each file named by `patterns`; local patterns may hold * ? [].

    Order is that of the patterns, sorted within one. Raises InputError for a missing file, a directory, an empty file.
    """
    found: list[tuple[str, int]] = []
    for pattern in patterns:
        is_pattern = "://" not in pattern and glob.has_magic(pattern)
        locations = sorted(glob.glob(pattern)) if is_pattern else [pattern]  # noqa: PTH207 (keeps the spelling given)
        if not locations:
            raise InputError(f"{what} '{pattern}' matches no file")
        found.extend((location, _size_of_file(location, what)) for location in locations)
    if not found:
        raise InputError(f"no {what} was given, at least one is needed")
    return found


def read_bytes(location: str, what: str) -> bytes:
    """The whole content of a small file. Raises InputError when it is missing, a directory or empty."""
    _size_of_file(location, what)
    filesystem, path = open_location(location)
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())


def _size_of_file(location: str, what: str) -> int:
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{what} '{location}' does not exist")
    if info.type == fs.FileType.Directory:
        raise InputError(f"{what} '{location}' is a directory, a file is expected")
    if info.size == 0:
        raise InputError(f"{what} '{location}' is empty")
    return int(info.size)
