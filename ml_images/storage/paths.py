"""A location given by a user becomes a file system and a path on it: local paths, file://, s3://, gs://, hdfs://."""

import glob
import re
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ml_images.errors import InputError


def open_location(location: str) -> tuple[fs.FileSystem, str]:
    """(file system, path on it without a trailing slash) for a path or URL. Raises InputError for an empty one."""
    if not location:
        raise InputError("a location is empty; give a path, file://, s3://, gs:// or hdfs://")
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


def resolve(location: str) -> str:
    """`location` with the same meaning in every process: a local path (or file://) made absolute, other URLs kept.

    A worker's own working directory is not the user's.
    """
    if "://" in location and not location.startswith("file://"):
        return location
    return open_location(location)[1]


def for_spark(location: str) -> str:
    """`location` as spark.read takes it: Hadoop decodes no %20, and takes [ ] { } * ? for a pattern."""
    location = resolve(location)
    return location if "://" in location else "file://" + _PATTERN.sub(r"\\\1", location)


def for_spark_to_write(location: str) -> str:
    """`location` as DataFrameWriter takes it, for which nothing is a pattern."""
    location = resolve(location)
    return location if "://" in location else f"file://{location}"


_PATTERN = re.compile(r"([\[\]{}*?\\,])")


def find_files(patterns: list[str], what: str) -> list[tuple[str, int]]:
    """(location, bytes) of each file named by `patterns`; local patterns may hold * ? [].

    Order is that of the patterns, sorted within one. An empty file may be among the matches of a pattern, as clusters
    write them. Raises InputError for a missing file, a directory, an empty file that is named, and if all are empty.
    """
    found: list[tuple[str, int]] = []
    for pattern in patterns:
        # A file that is really called a[1].txt is that file.
        is_pattern = "://" not in pattern and glob.has_magic(pattern) and not Path(pattern).exists()
        locations = sorted(glob.glob(pattern)) if is_pattern else [pattern]  # noqa: PTH207 (keeps the spelling given)
        if not locations:
            raise InputError(f"{what} '{pattern}' matches no file")
        found.extend((location, _size_of_file(location, what, may_be_empty=is_pattern)) for location in locations)
    if not found:
        raise InputError(f"no {what} was given, at least one is needed")
    if not any(size for _, size in found):
        raise InputError(f"{what} '{patterns[0]}' is empty")
    return found


def read_bytes(location: str, what: str) -> bytes:
    """The whole content of a small file, decompressed by its ending.

    Raises InputError when it is missing, a directory, empty or damaged.
    """
    _size_of_file(location, what)
    filesystem, path = open_location(location)
    try:
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())
    except OSError as error:
        raise InputError(f"{what} '{location}' cannot be read: {' '.join(str(error).split())}") from error


def _size_of_file(location: str, what: str, *, may_be_empty: bool = False) -> int:
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{what} '{location}' does not exist")
    if info.type == fs.FileType.Directory:
        raise InputError(f"{what} '{location}' is a directory, a file is expected")
    if info.type != fs.FileType.File:
        raise InputError(f"{what} '{location}' is no regular file (a device or a pipe), a file is expected")
    if info.size == 0 and not may_be_empty:
        raise InputError(f"{what} '{location}' is empty")
    return int(info.size)
