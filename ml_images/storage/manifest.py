"""What a data set promises about its files, and whether they keep it: `_manifest.json` beside them.

num_classes   of the vocabulary
splits        rows and row groups of each split
labels        positive labels of each split (none in earlier versions)
lanes         what the row groups of a split are a multiple of, where there are rows enough
replication   null, or what became of the classes' frequencies
appended      what was added later, and when
files         by name below the data set: rows, row_groups, bytes, sha256
metadata      by name: bytes, sha256 of the vocabulary, the data card and each _common_metadata
config        options of the job that wrote it; with the time, versions and commit
digest        sha256 of all of this but itself

Of what type each is, storage.manifest_fields tells.
"""

import hashlib
import json
import re
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.schemas import SPLITS
from ml_images.storage import tables
from ml_images.storage.json_shape import parse_json
from ml_images.storage.manifest_fields import Manifest
from ml_images.storage.paths import join, open_location

MANIFEST = "_manifest.json"
_FOLDERS = f"split=(?:{'|'.join(SPLITS)})/"
_NAMES = {
    "files": re.compile(_FOLDERS + r"part-[0-9]{1,18}\.parquet"),
    "metadata": re.compile(f"(?:{_FOLDERS})?" + r"_[a-z_]+(?:\.md)?"),
}
PIECE = 1 << 22  # bytes read at once

INTACT, MISSING, SHORT, LONG, ALTERED, UNREADABLE, MISCOUNTED, UNLISTED = STATES = (
    "intact",
    "missing",
    "shorter than written",
    "longer than written",
    "other bytes than written",
    "cannot be read",
    "other rows than promised",
    "not in the manifest",
)


class FilePromise(NamedTuple):
    """What the manifest says about one file."""

    rows: int
    row_groups: int
    bytes: int
    sha256: str  # hexadecimal


# A FilePromise with the file's name, as it travels between driver and workers.
FILES = pa.schema(
    [
        pa.field("file", pa.string()),
        pa.field("rows", pa.int64()),
        pa.field("row_groups", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
    ]
)


def read_manifest(location: str, *needed: str) -> dict[str, Any]:
    """The manifest of the data set in `location`, each field as manifest_fields.Manifest has it.

    needed: fields that not every data set has. Raises InputError where there is no manifest, and for one that lacks a
    field, holds something else in it or names files that no data set has.
    """
    file = join(location, MANIFEST)
    filesystem, path = open_location(file)
    if filesystem.get_file_info(path).type != fs.FileType.File:
        raise InputError(f"'{location}' has no {MANIFEST}: not a data set of jobs/materialize.py")
    try:
        with filesystem.open_input_stream(path) as stream:
            text = stream.read()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    manifest: dict[str, Any] = parse_json(text, Manifest, file)
    for name in needed:
        if name not in manifest:
            raise InputError(f"{file} lacks {name}: not of this version; run jobs/materialize.py again")
    if 0 in (manifest["num_classes"], manifest.get("lanes", 1)):
        raise InputError(f"{file} holds 0 as num_classes or lanes, 1 is the least")
    for field, pattern in _NAMES.items():
        for name in manifest.get(field, ()):
            if not pattern.fullmatch(name):
                raise InputError(f"{file} names {name!r} among its {field}, which jobs/materialize.py never writes")
    return manifest


def read_promises(location: str) -> dict[str, FilePromise]:
    """The files of the data set in `location` by name. Raises what `read_manifest` does."""
    files = read_manifest(location, "files")["files"]
    return {name: FilePromise(*(told[field] for field in FilePromise._fields)) for name, told in files.items()}


def check_file(location: str, promise: FilePromise) -> str:
    """One of STATES for a file that is in the manifest. Reads all of it."""
    if (state := _check_bytes(location, promise.bytes, promise.sha256)) != INTACT:
        return state
    filesystem, path = open_location(location)
    try:
        footer = pq.read_metadata(path, filesystem=filesystem)
    except (OSError, pa.ArrowException):
        return UNREADABLE
    return INTACT if (footer.num_rows, footer.num_row_groups) == (promise.rows, promise.row_groups) else MISCOUNTED


def promise_metadata(location: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """What the manifest says of files of the data set in `location` that hold no rows."""
    told = {}
    for name in names:
        filesystem, path = open_location(join(location, name))
        told[name] = {"bytes": int(filesystem.get_file_info(path).size), "sha256": _sha256(filesystem, path)}
    return told


def write_manifest(location: str, content: Mapping[str, Any]) -> None:
    """`content` as the manifest of the data set in `location`, with its digest."""
    tables.write_json(join(location, MANIFEST), {**content, "digest": _digest(content)})


def _digest(content: Mapping[str, Any]) -> str:
    """Of what JSON keeps of it, whatever its order and spelling there."""
    told = json.loads(json.dumps({name: value for name, value in content.items() if name != "digest"}))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def check_metadata(location: str) -> dict[str, str]:
    """One of STATES for each file without rows that the manifest names, and for the manifest itself, whose totals have
    to be the sums over its files. Raises what `read_manifest` does."""
    manifest = read_manifest(location, "files", "metadata")
    states = {
        name: _check_bytes(join(location, name), told["bytes"], told["sha256"])
        for name, told in manifest["metadata"].items()
    }
    sums: dict[str, dict[str, int]] = {}
    for name, promise in manifest["files"].items():
        total = sums.setdefault(name.partition("/")[0].removeprefix("split="), {"rows": 0, "row_groups": 0})
        for count in total:
            total[count] += promise[count]
    if sums != manifest["splits"]:
        return states | {MANIFEST: MISCOUNTED}
    return states | {MANIFEST: INTACT if manifest.get("digest") == _digest(manifest) else ALTERED}


def unlisted(location: str, listed: Container[str]) -> list[str]:
    """Whatever is no folder in the data set in `location`, is not among the names `listed`, and is taken by other
    readers: most pass over names with _ or . in front only, but pyarrow, and with it Petastorm, takes any file whose
    name ends in _metadata for metadata, where a pickle may be."""
    filesystem, path = open_location(location)
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    names = (info.path[len(path) + 1 :] for info in infos if info.type != fs.FileType.Directory)
    return sorted(name for name in names if _is_taken(name) and name not in listed)


def _is_taken(name: str) -> bool:
    return name.endswith("_metadata") or not any(part.startswith(("_", ".")) for part in name.split("/"))


def _check_bytes(location: str, size: int, sha256: str) -> str:
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type != fs.FileType.File:
        return MISSING
    if info.size != size:
        return SHORT if info.size < size else LONG
    try:
        return INTACT if _sha256(filesystem, path) == sha256 else ALTERED
    except OSError:
        return UNREADABLE


def _sha256(filesystem: fs.FileSystem, path: str) -> str:
    digest = hashlib.sha256()
    with filesystem.open_input_stream(path) as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
