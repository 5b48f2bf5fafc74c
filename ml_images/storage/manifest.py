"""What a data set promises about its files, and whether they keep it: `_manifest.json` beside them.

num_classes   of the vocabulary
splits        rows and row groups of each split
labels        positive labels of each split (none in earlier versions)
lanes         what the row groups of a split are a multiple of, where there are rows enough
replication   null, or what became of the classes' frequencies
appended      what was added later, and when
files         by name below the data set: rows, row_groups, bytes, sha256
metadata      by name: bytes, sha256 of the vocabulary and of each _common_metadata
config        options of the job that wrote it; with the time, versions and commit
digest        sha256 of all of this but itself
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

MANIFEST = "_manifest.json"
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


def read_promises(location: str) -> dict[str, FilePromise]:
    """The files of the data set in `location` by name. InputError where it has no manifest or one without digests."""
    manifest = tables.read_json(join(location, MANIFEST))
    if manifest is None:
        raise InputError(f"'{location}' has no {MANIFEST}: not a data set of jobs/materialize.py")
    try:
        return {name: FilePromise(**told) for name, told in manifest["files"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{join(location, MANIFEST)} holds no digests of files ({error}): written by an earlier version; run "
            "jobs/materialize.py again"
        ) from error


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
    to be the sums over its files."""
    manifest: dict[str, Any] = tables.read_json(join(location, MANIFEST)) or {}
    states = {
        name: _check_bytes(join(location, name), told["bytes"], told["sha256"])
        for name, told in manifest.get("metadata", {}).items()
    }
    sums: dict[str, dict[str, int]] = {}
    for name, promise in manifest.get("files", {}).items():
        total = sums.setdefault(name.partition("/")[0].removeprefix("split="), {"rows": 0, "row_groups": 0})
        for count in total:
            total[count] += promise[count]
    if sums != manifest.get("splits"):
        return states | {MANIFEST: MISCOUNTED}
    return states | {MANIFEST: INTACT if manifest.get("digest") == _digest(manifest) else ALTERED}


def unlisted(location: str, promises: Mapping[str, FilePromise]) -> list[str]:
    """Files of the data set in `location` that its manifest does not name and that other readers would take: they pass
    over names with _ or . in front only, whatever the ending."""
    filesystem, path = open_location(location)
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    names = (info.path[len(path) + 1 :] for info in infos if info.type == fs.FileType.File)
    visible = (name for name in names if not any(part.startswith(("_", ".")) for part in name.split("/")))
    return sorted(name for name in visible if name not in promises)


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
