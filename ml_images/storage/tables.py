"""A table is a folder of Parquet parts that counts as done only when `_SUCCESS` is there.

    labels/_ml_images.json  whose folder this is; we never write into one that exists and lacks it
    labels/part-*.parquet   the rows
    labels/_SUCCESS         written last, removed first
    labels/_staging/        parts of a run under way; every reader passes over names that begin with an underscore

Workers write parts into the staging folder under names that follow from the work alone, each by a rename: a task that
runs twice replaces its part and never doubles it. On an object store a rename is a copy that the store makes for itself
and a removal: as safe, but slower.
"""

import errno
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ml_images.errors import InputError, StorageError
from ml_images.storage import s3
from ml_images.storage.digested import DigestedStream
from ml_images.storage.paths import is_object_store, join, make_folder, open_location

_AT_ONCE = 16  # requests to an object store, each of which does nothing but wait
_PICTURES = 32
_PICTURE_COLUMNS = {"data", "image"}
SUCCESS, MARK, STAGING, LOCK = "_SUCCESS", "_ml_images.json", "_staging", "_lock"


def claim(location: str, holds: str) -> None:
    """Make our folder for a table or a job's output, or recognise an earlier run's; InputError for anything else."""
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        raise InputError(f"output '{location}' is a file; give a folder for {holds}")
    if info.type == fs.FileType.Directory:
        mark = read_json(join(location, MARK))
        there = [
            info for info in filesystem.get_file_info(fs.FileSelector(path)) if not _is_before_mark(info.base_name)
        ]
        if mark is None and there:
            raise InputError(
                f"output '{location}' exists and was not written by ml-images; give another folder or remove it"
            )
        if mark is not None and mark["holds"] != holds:
            raise InputError(f"output '{location}' holds '{mark['holds']}', not '{holds}'; give another folder")
        if mark is not None:
            return
    with storage_errors(location):
        write_json(join(location, MARK), {"holds": holds, "format": 1})


def require(location: str, table: str) -> None:
    """Raise InputError unless `location` is a finished table of this name."""
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{table} table '{location}' does not exist")
    if info.type == fs.FileType.File:
        raise InputError(f"{table} table '{location}' is a file, a folder of Parquet parts is expected")
    mark = read_json(join(location, MARK))
    if mark is None or mark["holds"] != table:
        found = f"holds '{mark['holds']}'" if mark else f"has no {MARK}"
        article = "an" if table[0] in "aeiou" else "a"
        raise InputError(f"'{location}' is not {article} {table} table of ml-images: it {found}")
    if not is_done(location):
        raise InputError(f"{table} table '{location}' is not finished (no _SUCCESS); run the job that writes it again")


def is_done(location: str) -> bool:
    filesystem, path = open_location(location)
    return filesystem.get_file_info(join(path, SUCCESS)).type == fs.FileType.File


def parts(location: str) -> list[str]:
    """Paths below `location` of its Parquet parts, sorted; staged ones are not among them."""
    return [name for name in visible_files(location) if name.endswith(".parquet")]


def visible_files(location: str) -> list[str]:
    """Paths below `location` of all files that Spark would read, whatever their ending, sorted."""
    filesystem, path = open_location(location)
    found = filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    names = (info.path[len(path) + 1 :] for info in found if info.type == fs.FileType.File)
    return sorted(name for name in names if not _is_hidden(name))


def total_bytes(location: str) -> int:
    """What the parts of a table take."""
    filesystem, path = open_location(location)
    names = parts(location)
    return sum(info.size for info in filesystem.get_file_info([join(path, name) for name in names])) if names else 0


def share_parts(location: str, groups: int) -> list[list[str]]:
    """The locations of a table's parts, shared out to at most `groups` lists of about equal bytes; none is empty."""
    filesystem, path = open_location(location)
    names = parts(location)
    infos = filesystem.get_file_info([join(path, name) for name in names]) if names else []
    shares = [(0, number, list[str]()) for number in range(min(groups, len(names)))]
    heapq.heapify(shares)
    for size, name in sorted(((info.size, name) for info, name in zip(infos, names, strict=True)), reverse=True):
        held, number, share = heapq.heappop(shares)
        share.append(join(location, name))
        heapq.heappush(shares, (held + size, number, share))
    return [share for _, _, share in sorted(shares, key=lambda entry: entry[1])]


def exists(part: str) -> bool:
    filesystem, path = open_location(part)
    return bool(filesystem.get_file_info(path).is_file)


def read_part(part: str, columns: list[str] | None = None) -> pa.Table:
    """One whole Parquet part. pq.read_table would first import pyarrow.dataset, which takes 0.2 s."""
    filesystem, path = open_location(part)
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
        return opened.read(columns, use_threads=False)


def read_batches(part: str, columns: list[str], rows: int = 1 << 14) -> Iterator[pa.RecordBatch]:
    """`columns` of one Parquet part in batches of at most `rows` rows, in the order of the file."""
    filesystem, path = open_location(part)
    with filesystem.open_input_file(path) as file, pq.ParquetFile(file) as opened:
        yield from opened.iter_batches(rows, columns=columns, use_threads=False)


def staged_parts(location: str) -> list[str]:
    """Like `parts`, for the parts that wait in the staging folder."""
    return parts(join(location, STAGING))


def require_staged(location: str, expected: int) -> None:
    """Raise StorageError unless as many parts are staged as the workers say that they wrote."""
    found = len(staged_parts(location))
    if found != expected:
        told = "it must be a place that all machines share"
        raise StorageError(f"workers wrote {expected} parts of '{location}', {found} are there: {told}")


def clear_staging(location: str) -> None:
    """Forget what an unfinished run left behind."""
    filesystem, path = open_location(location)
    with storage_errors(location):
        filesystem.delete_dir_contents(join(path, STAGING), missing_dir_ok=True)


def publish(*locations: str) -> None:
    """Put the staged parts in the place of the visible ones and mark the tables as done: from the first step on none is
    done until all have their new parts, so that no crash leaves tables of two runs that fit together by name only."""
    for location in locations:
        begin_publishing(location)
    for location in locations:
        clear(location)
        move_staged(location, staged_parts(location))
    for location in locations:
        mark_done(location)


def withdraw(location: str) -> None:
    """Empty a table that an earlier run made and this one does not, if there is one: it is not done any more."""
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type == fs.FileType.Directory:
        begin_publishing(location)
        clear(location)


def clear(location: str) -> None:
    """Remove all of a table but its mark, its lock and what is staged."""
    filesystem, path = open_location(location)
    with storage_errors(location):
        infos = [
            info
            for info in filesystem.get_file_info(fs.FileSelector(path))
            if info.base_name not in (MARK, STAGING, LOCK)
        ]
        for info in infos:
            if info.type == fs.FileType.Directory:
                filesystem.delete_dir(info.path)
        files = (info.path for info in infos if info.type != fs.FileType.Directory)
        _for_each(filesystem, filesystem.delete_file, files)


def begin_publishing(location: str) -> None:
    """From here until the end of `move_staged` the table is not done."""
    filesystem, path = open_location(location)
    if is_done(location):
        with storage_errors(location):
            filesystem.delete_file(join(path, SUCCESS))


def move_staged(location: str, names: Iterable[str]) -> None:
    """Make the staged parts `names` visible, and forget whatever else is staged."""
    filesystem, path = open_location(location)
    names = list(names)

    def move(name: str) -> None:
        target = join(path, name)
        make_folder(filesystem, target.rpartition("/")[0])
        filesystem.move(join(path, STAGING, name), target)

    with storage_errors(location):
        _for_each(filesystem, move, names)
        if is_object_store(filesystem):
            _require_copies(filesystem, path, names)
        filesystem.delete_dir_contents(join(path, STAGING), missing_dir_ok=True)


def _require_copies(filesystem: fs.FileSystem, path: str, names: Iterable[str]) -> None:
    """S3 may answer 200 to a copy and tell in the body that it failed (API reference, CopyObject)."""
    there = {
        info.path for info in filesystem.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    }
    lost = [name for name in names if join(path, name) not in there]
    if lost:
        raise StorageError(f"the store lost {len(lost)} parts while it copied them, '{lost[0]}' for one; run it again")


def _for_each(filesystem: fs.FileSystem, do: Callable[[str], object], names: Iterable[str]) -> None:
    if is_object_store(filesystem):
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(do, names):
                pass
    else:
        for name in names:
            do(name)


def mark_done(location: str) -> None:
    """The last step of every write."""
    filesystem, path = open_location(location)
    with storage_errors(location), filesystem.open_output_stream(join(path, SUCCESS)):
        pass


@contextmanager
def whole_file(location: str) -> Iterator[tuple[fs.FileSystem, str]]:
    """(file system, path beside) to write to: the file appears under `location` whole, or not at all."""
    filesystem, path = open_location(location)
    folder, _, name = path.rpartition("/")
    beside = f"{folder}/.{name}.{uuid4().hex}"
    is_whole = False
    with storage_errors(location):
        make_folder(filesystem, folder)
        try:
            yield filesystem, beside
            filesystem.move(beside, path)
            is_whole = True
        finally:
            if not is_whole and filesystem.get_file_info(beside).type == fs.FileType.File:
                filesystem.delete_file(beside)


@contextmanager
def open_part(location: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer whose file appears under `location` whole, or not at all."""
    with (
        whole_file(location) as (filesystem, beside),
        pq.ParquetWriter(beside, schema, filesystem=filesystem, **_encodings(schema)) as writer,
    ):
        yield writer


@contextmanager
def open_digested_part(location: str, schema: pa.Schema) -> Iterator[tuple[pq.ParquetWriter, DigestedStream]]:
    """Like `open_part`; the stream knows the bytes and the digest of the file once the block is left."""
    with whole_file(location) as (filesystem, beside), filesystem.open_output_stream(beside) as opened:
        stream = DigestedStream(opened)
        with pq.ParquetWriter(stream, schema, **_encodings(schema)) as writer:
            yield writer, stream


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """zstd, but not for pictures: with dictionary and statistics it takes half of the time to write them and saves
    0.5 %. How long a page is, is looked at after every _PICTURES of them: with pyarrow's 1024 values all of a part were
    in one page, put together in buffers that grow (0.042 instead of 0.014 ms of CPU a picture of 28 KB)."""
    pictures = _PICTURE_COLUMNS & set(schema.names)
    if not pictures:
        return {"compression": "zstd"}
    others = [_column(field) for field in schema if field.name not in pictures]
    codecs = dict.fromkeys(others, "zstd") | dict.fromkeys(pictures, "none")
    return {
        "compression": codecs,
        "use_dictionary": others,
        "write_statistics": others,
        "write_batch_size": _PICTURES,
    }


def _column(field: pa.Field) -> str:
    """What a column of numbers, texts or lists of them is called in a Parquet file, and in the options of a writer.
    https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#lists"""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def write_part(location: str, table: pa.Table) -> None:
    """`table` as one Parquet file that appears whole, or not at all."""
    with open_part(location, table.schema) as writer:
        writer.write_table(table)


def write_array(location: str, array: np.ndarray) -> None:
    """The plain bytes of an array of numbers, little-endian, as a file that appears whole, or not at all."""
    _write_whole(location, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def read_array(location: str, dtype: type[np.generic], start: int = 0, end: int | None = None) -> np.ndarray:
    """Elements [start, end) of what `write_array` wrote."""
    filesystem, path = open_location(location)
    size = np.dtype(dtype).itemsize
    with filesystem.open_input_file(path) as file:
        stop = file.size() if end is None else end * size
        return np.frombuffer(file.read_at(stop - start * size, start * size), np.dtype(dtype).newbyteorder("<"))


def write_table(location: str, table: str, rows: pa.Table) -> None:
    """A whole (small) table in one part, in the place of an earlier one."""
    stage_table(location, table, rows)
    publish(location)


def stage_table(location: str, table: str, rows: pa.Table) -> None:
    """Like `write_table`, up to the point where anyone sees it."""
    claim(location, table)
    clear_staging(location)
    write_part(join(location, STAGING, "part-000000.parquet"), rows)


def read_table(location: str, table: str, columns: list[str] | None = None) -> pa.Table:
    """A whole (small) table."""
    require(location, table)
    return pa.concat_tables(read_part(join(location, name), columns) for name in parts(location))


def write_json(location: str, content: Any) -> None:
    """A JSON file that appears whole, or not at all."""
    write_text(location, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(location: str, content: str) -> None:
    """A text file that appears whole, or not at all."""
    _write_whole(location, content.encode())


def _write_whole(location: str, content: bytes) -> None:
    with whole_file(location) as (filesystem, beside), filesystem.open_output_stream(beside) as stream:
        stream.write(content)


def read_json(location: str) -> Any | None:
    """The content of a JSON file, None when there is no such file."""
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type != fs.FileType.File:
        return None
    with filesystem.open_input_stream(path) as stream:
        content = stream.read()
    try:
        return json.loads(content)
    except ValueError as error:
        raise InputError(f"'{location}' is not JSON: {error}; remove it if it is not yours") from error


@contextmanager
def storage_errors(location: str) -> Iterator[None]:
    """A full, read-only or vanished disk, and whatever S3 says, become a StorageError of one line; other errors pass
    unchanged."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno in _STORE_REFUSES:
            why = _STORE_REFUSES[error.errno]
        elif s3.parse(location) and error.errno is None:
            why = s3.reason(error)
        else:
            raise
        raise StorageError(f"cannot write '{location}': {why}; what is there is not marked as done") from error


_STORE_REFUSES = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ENOENT: "the path cannot be made",
}


def _is_before_mark(name: str) -> bool:
    """Is this the lock, or what a crash left of the mark itself? Both are there before the mark is."""
    return name == LOCK or name.startswith(f".{MARK}.")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))
