"""A location given by a user becomes a file system and a path on it.

    a path, file:///path
    s3://bucket/path                    Amazon S3, in whatever region the bucket is; s3a:// means the same
    s3+http://host:port/bucket/path     another server that speaks S3 (MinIO, Ceph); s3+https:// with TLS
    gs://bucket/path, hdfs://host:port/path

How S3 is spoken to is ml_images/storage/s3.py's.
"""

import glob
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage import s3


def open_location(location: str) -> tuple[fs.FileSystem, str]:
    """(file system, path on it without a trailing slash) for a path or URL.

    Raises InputError for an empty one, and when a process meets a bucket for the first time that cannot be reached.
    """
    if not location:
        raise InputError(f"a location is empty; give {_ACCEPTED}")
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    if place := s3.parse(location):
        return s3.open_place(place), place.path
    if location.startswith(("gs://", "gcs://")):
        return _open_gcs(location)
    return _open_url(location)


def _open_url(location: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, path = fs.FileSystem.from_uri(location)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise InputError(f"cannot open location '{location}' ({error}); give {_ACCEPTED}") from error
    return filesystem, path.rstrip("/")


def _open_gcs(location: str) -> tuple[fs.FileSystem, str]:
    bounded = location
    if "retry_limit_seconds" not in location:  # else it tries for 15 minutes
        bounded += f"{'&' if '?' in location else '?'}retry_limit_seconds={_GCS_SECONDS}"
    filesystem, path = _open_url(bounded)
    bucket = path.partition("/")[0]
    if bucket not in _met:
        try:
            filesystem.get_file_info(path)
        except OSError as error:
            raise InputError(f"cannot open '{location}': {' '.join(str(error).split())}") from error
        _met.add(bucket)
    return filesystem, path


_GCS_SECONDS = 30
_met: set[str] = set()  # buckets of Google's that answered this process

_ACCEPTED = "a path, file://, s3://, s3+http://, gs:// or hdfs://"


def is_object_store(filesystem: fs.FileSystem) -> bool:
    """Has it no folders, and no renaming but by a copy? A file appears there when all of it has been sent."""
    return filesystem.type_name in ("s3", "gcs")


def make_folder(filesystem: fs.FileSystem, folder: str) -> None:
    """A folder and those above it, where there is such a thing.

    On an object store an empty object would stand for each, up to the bucket's root, where one may not be allowed to
    write.
    """
    if not is_object_store(filesystem):
        filesystem.create_dir(folder, recursive=True)


def join(location: str, *names: str) -> str:
    """`location` with names appended, also for URLs."""
    return "/".join([location.rstrip("/"), *names])


def resolve(location: str) -> str:
    """`location` with the same meaning in every process: a local path (or file://) made absolute, other URLs kept.

    A worker's own working directory is not the user's. Raises InputError for an empty one and for keys in a URL.
    """
    if s3.parse(location) or ("://" in location and not location.startswith("file://")):
        return location
    return open_location(location)[1]


def for_spark(location: str) -> str:
    """`location` as spark.read takes it: Hadoop decodes no %20, and takes [ ] { } * ? for a pattern."""
    if place := s3.parse(location):
        return "s3a://" + _PATTERN.sub(r"\\\1", place.path)
    location = resolve(location)
    return location if "://" in location else "file://" + _PATTERN.sub(r"\\\1", location)


def for_spark_to_write(location: str) -> str:
    """`location` as DataFrameWriter takes it, for which nothing is a pattern."""
    if place := s3.parse(location):
        return "s3a://" + place.path
    location = resolve(location)
    return location if "://" in location else f"file://{location}"


_PATTERN = re.compile(r"([\[\]{}*?\\,])")


def find_files(patterns: list[str], what: str) -> list[tuple[str, int]]:
    """(location, bytes) of each file named by `patterns`, once, in their order; what a pattern is tells `expand`.

    An empty file may be among the matches of a pattern, as clusters write them. Raises InputError for a missing file, a
    directory, an empty file that is named, and if all are empty.
    """
    found: dict[str, tuple[str, int]] = {}  # by what all spellings of a location have in common
    for pattern in patterns:
        for place in expand(pattern, what):
            size = _size_of_file(place, what, may_be_empty=place != pattern)
            found.setdefault(_same(place), (place, size))
    if not found:
        raise InputError(f"no {what} was given, at least one is needed")
    if not any(size for _, size in found.values()):
        raise InputError(f"{what} '{patterns[0]}' is empty")
    return list(found.values())


def _same(location: str) -> str:
    """Equal for two locations that are the same file: through links and `..`, too, where they are local."""
    place = resolve(location)
    return place if "://" in place else str(Path(place).resolve())


def expand(pattern: str, what: str) -> list[str]:
    """The files and folders that a pattern (* ? []; locally ** is any folders) stands for, sorted, in the user's own
    spelling; hidden ones only where it names the dot, as a shell does it. What is no pattern, local or on S3, stands
    for itself, there or not.

    Raises InputError for a pattern that matches nothing; `what` it should have been.
    """
    if not is_pattern(pattern):
        return [pattern]
    # pathlib would respell what it finds.
    found = _matches(pattern) if "://" in pattern else glob.glob(pattern, recursive=True)  # noqa: PTH207
    if not found:
        raise InputError(f"{what} '{pattern}' matches no file")
    return sorted(found)


def is_pattern(location: str) -> bool:
    """A file that is really called a[1].txt is that file."""
    if not glob.has_magic(location):
        return False
    if "://" not in location:
        return not Path(location).exists()
    if s3.parse(location) is None:
        return False
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).type == fs.FileType.NotFound)


def _matches(pattern: str) -> list[str]:
    """On an object store: folder by folder, so that only those are listed that may hold a match."""
    filesystem, path = open_location(pattern)
    prefix = pattern.rstrip("/").removesuffix(path)
    first, *names = path.split("/")
    places = [first]  # a bucket
    for number, name in enumerate(names, 1):
        if not glob.has_magic(name):
            places = [join(place, name) for place in places]
            continue
        selectors = [fs.FileSelector(place, allow_not_found=True) for place in places]
        infos = [info for each in selectors for info in filesystem.get_file_info(each) if _fits(info, name)]
        is_last = number == len(names)
        places = [info.path for info in infos if is_last or info.type == fs.FileType.Directory]
    if places and not glob.has_magic(path.rpartition("/")[2]):  # nobody has seen those yet
        places = [info.path for info in filesystem.get_file_info(places) if info.type != fs.FileType.NotFound]
    return [prefix + place for place in places]


def _fits(info: fs.FileInfo, pattern: str) -> bool:
    name = info.base_name
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


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
    if any(letter == "\0" or "\udc80" <= letter <= "\udcff" for letter in location):
        raise InputError(f"{location!r} names no file that can be read: it is not UTF-8, or has a zero byte")
    filesystem, path = open_location(location)
    try:
        info = filesystem.get_file_info(path)
    except OSError as error:
        raise InputError(f"{what} '{location}' cannot be read: {' '.join(str(error).split())}") from error
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{what} '{location}' does not exist")
    if info.type == fs.FileType.Directory:
        raise InputError(f"{what} '{location}' is a directory, a file is expected")
    if info.type != fs.FileType.File:
        raise InputError(f"{what} '{location}' is no regular file (a device or a pipe), a file is expected")
    if info.size == 0 and not may_be_empty:
        raise InputError(f"{what} '{location}' is empty")
    return int(info.size)
