"""What a data set on disk promises, checked before anything reads its rows.

A folder is refused when it is unfinished, changed after it was written, or when opening it would unpickle something:
Petastorm unpickles the schema that it finds beside the data, and its restricted unpickler runs any code.
"""

import hashlib
import os
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.storage.json_shape import parse_json
from ml_images.storage.manifest import MANIFEST, read_manifest
from ml_images.storage.paths import join, open_location, resolve
from ml_images.storage.petastorm import COMMON_METADATA, ROW_GROUPS
from ml_images.train.group_size import COLUMNS, GroupSize, largest_of, sizes_of

PETASTORM_PREFIX = b"dataset-toolkit."  # every other key of Petastorm's holds a pickle

FOOTERS_AT_ONCE = 16  # read by threads: 5,000 footers on a store that answers after 50 ms take 16 s


@dataclass(frozen=True)
class Split:
    """One split of a data set: its folder, its files by name and the rows of their row groups, one after the other.

    lanes: what the number of row groups is a multiple of, mostly. largest: of the row groups, the most of each.
    replicated: rows may be wanted more than once an epoch, by the column `replication`.
    """

    location: str
    num_classes: int
    lanes: int
    files: tuple[str, ...]
    groups_per_file: tuple[int, ...]
    row_groups: tuple[int, ...]
    largest: GroupSize
    replicated: bool = False

    @property
    def rows(self) -> int:
        return sum(self.row_groups)

    def place_of(self, group: int) -> tuple[str, int]:
        """(file, which of its row groups) for a row group of the split."""
        file = bisect_right(self._ends, group)
        return self.files[file], group - (self._ends[file - 1] if file else 0)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.groups_per_file))


class _Footer(NamedTuple):
    rows: list[int]  # of each row group
    largest: GroupSize


def check_folder(location: str) -> str:
    """The resolved location of a finished data set without pickles. Opens metadata only; raises InputError."""
    filesystem, path = open_location(location)
    kind = filesystem.get_file_info(path).type
    if kind != fs.FileType.Directory:
        found = "missing" if kind == fs.FileType.NotFound else "a file"
        raise InputError(f"data.path: '{location}' is {found}, expected a data set folder")
    if filesystem.get_file_info(join(path, "_SUCCESS")).type != fs.FileType.File:
        raise InputError(
            f"data.path: '{location}' has no _SUCCESS: not a data set, or one whose writing was not finished"
        )
    if isinstance(filesystem, fs.LocalFileSystem):
        _refuse_links(Path(path))
    # pyarrow takes any file with this ending, at any depth, for the common metadata.
    for info in filesystem.get_file_info(fs.FileSelector(path, recursive=True)):
        if info.type == fs.FileType.File and info.base_name.endswith("_metadata"):
            refuse_pickles(filesystem, info.path)
    return resolve(location)


def refuse_pickles(filesystem: fs.FileSystem, path: str) -> None:
    """Raise InputError when this Parquet metadata file holds a key that Petastorm would unpickle."""
    for key in _key_values(filesystem, path):
        if key.startswith(PETASTORM_PREFIX) and key != ROW_GROUPS:
            raise InputError(
                f"{path} holds a pickle ({key.decode(errors='replace')}), which would run code when opened: refused; "
                "write the data set with jobs/materialize.py, which writes none"
            )


def _refuse_links(folder: Path) -> None:
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            if Path(parent, name).is_symlink():
                raise InputError(
                    f"data.path: '{Path(parent, name)}' is a symbolic link to a folder: refused, because it can lead "
                    "to anything; put the files themselves there"
                )


def read_split(location: str, name: str) -> Split:
    """The split `name` of the data set in `location`, from its manifest and the footers of its files.

    Raises InputError when the folder, the manifest, the metadata and the footers do not tell the same story.
    """
    location = check_folder(location)
    filesystem, path = open_location(location)
    manifest = read_manifest(location)
    expected = manifest["splits"].get(name, {"rows": 0, "row_groups": 0})
    folder = join(path, f"split={name}")
    files = _promised(manifest, name, _parquet_files(filesystem, folder))
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        footers = list(pool.map(lambda file: _footer(filesystem, join(folder, file)), files))
    row_groups = tuple(rows for footer in footers for rows in footer.rows)
    if (sum(row_groups), len(row_groups)) != (expected["rows"], expected["row_groups"]):
        raise InputError(
            f"{folder} holds {sum(row_groups)} rows in {len(row_groups)} row groups, its manifest says "
            f"{expected['rows']} in {expected['row_groups']}: it was changed after it was written; run "
            "jobs/materialize.py again"
        )
    if files:
        listed = _listed_row_groups(filesystem, join(folder, COMMON_METADATA))
        if any(listed.get(file) != len(footer.rows) for file, footer in zip(files, footers, strict=True)):
            raise InputError(
                f"{folder}/_common_metadata does not list the files that are there: run jobs/materialize.py again"
            )
    return Split(
        location=join(location, f"split={name}"),
        num_classes=manifest["num_classes"],
        lanes=manifest.get("lanes", 1),
        files=tuple(files),
        groups_per_file=tuple(len(footer.rows) for footer in footers),
        row_groups=row_groups,
        largest=largest_of(footer.largest for footer in footers),
        replicated=bool(manifest.get("replication")),
    )


def digest_of(split: Split) -> str:
    """16 hex digits that change with the manifest and with the name, size or row groups of any file of the split."""
    filesystem, folder = open_location(split.location)
    with filesystem.open_input_stream(join(folder.rpartition("/")[0], MANIFEST)) as manifest:
        digest = hashlib.sha256(manifest.read())
    infos = filesystem.get_file_info([join(folder, file) for file in split.files])
    digest.update(repr(([(info.base_name, info.size) for info in infos], split.row_groups)).encode())
    return digest.hexdigest()[:16]


def _parquet_files(filesystem: fs.FileSystem, folder: str) -> list[str]:
    infos = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    for info in infos:
        if info.type == fs.FileType.Directory:
            raise InputError(f"{folder} holds the folder '{info.base_name}', a split holds files only")
    return sorted(info.base_name for info in infos if not info.base_name.startswith(("_", ".")))


def _promised(manifest: dict[str, Any], split: str, there: list[str]) -> list[str]:
    """Those of the files that are there which the manifest names: others are of an append that was cut off, say."""
    if "files" not in manifest:  # not by jobs/materialize.py
        return there
    named = {file.rpartition("/")[2] for file in manifest["files"] if file.startswith(f"split={split}/")}
    return [file for file in there if file in named]


def _check_types(path: str, found: pa.Schema) -> None:
    """Numbers are taken as they lie in memory: those of other types would be other labels."""
    for name in (*COLUMNS, "replication"):
        kind, promised = found.field(name).type, schemas.DATASET.field(name).type
        are_lists = pa.types.is_list(kind) and pa.types.is_list(promised)
        if kind != promised and not (are_lists and kind.value_type == promised.value_type):
            raise InputError(f"{path} has the column {name} as {kind}, a data set has {promised}")


def _footer(filesystem: fs.FileSystem, path: str) -> _Footer:
    try:
        with filesystem.open_input_file(path) as source, pq.ParquetFile(source) as opened:
            missing = set(schemas.DATASET.names) - set(opened.schema_arrow.names)
            if missing:
                raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))} of a data set")
            _check_types(path, opened.schema_arrow)
            sizes = sizes_of(opened)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last for damaged names of columns
        raise InputError(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from error
    return _Footer([size.rows for size in sizes], largest_of(sizes))


def _key_values(filesystem: fs.FileSystem, path: str) -> dict[bytes, bytes]:
    try:
        return dict(pq.read_metadata(path, filesystem=filesystem).metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is not Parquet metadata: {' '.join(str(error).split())}") from error


def _listed_row_groups(filesystem: fs.FileSystem, path: str) -> dict[str, int]:
    known = filesystem.get_file_info(path).type == fs.FileType.File
    text = _key_values(filesystem, path).get(ROW_GROUPS) if known else None
    if text is None:
        raise InputError(f"{path} is missing or lacks {ROW_GROUPS.decode()}: run jobs/materialize.py again")
    listed: dict[str, int] = parse_json(text, dict[str, int], f"{path}, {ROW_GROUPS.decode()},")
    return listed
