"""What a data set on disk promises, checked before anything reads its rows, and how an epoch of it is dealt out.

A folder is refused when it is unfinished, changed after it was written, or when opening it would unpickle something:
Petastorm unpickles the schema that it finds beside the data, and its restricted unpickler runs any code.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.storage.petastorm import COMMON_METADATA, ROW_GROUPS

PETASTORM_PREFIX = b"dataset-toolkit."  # every other key of Petastorm's holds a pickle


@dataclass(frozen=True)
class Split:
    """One split of a data set: its folder and the rows of each row group, in Petastorm's order (files by name)."""

    folder: str
    num_classes: int
    row_groups: tuple[int, ...]

    @property
    def rows(self) -> int:
        return sum(self.row_groups)

    @property
    def url(self) -> str:
        return f"file://{Path(self.folder).resolve()}"  # as_uri would quote the '=', which Petastorm does not unquote


@dataclass(frozen=True)
class EpochPlan:
    """How many steps every rank makes in an epoch, and how many of the rows no step gets to."""

    rows: int
    steps: int
    batch_size: int
    size: int

    @property
    def remainder(self) -> int:
        return self.rows - self.steps * self.batch_size * self.size

    def __str__(self) -> str:
        return (
            f"{self.rows} rows = {self.steps} steps x {self.size} ranks x {self.batch_size} images"
            f" + {self.remainder} left over (others each epoch)"
        )


def plan_epoch(split: Split, batch_size: int, size: int) -> EpochPlan:
    """The plan of a training epoch: as many steps as the rank with the fewest rows can fill.

    Raises InputError when there are fewer row groups than ranks or not one full batch for each rank.
    """
    if len(split.row_groups) < size:
        raise InputError(
            f"{split.folder} has {len(split.row_groups)} row groups for {size} ranks and each rank needs one: write it"
            f" again with jobs/materialize.py layout.ranks={size}, or start at most {len(split.row_groups)} ranks"
        )
    smallest = min(sum(split.row_groups[shard::size]) for shard in range(size))
    if smallest < batch_size:
        raise InputError(
            f"data.batch_size={batch_size} is more than the {smallest} rows that the smallest of {size} shards of "
            f"{split.folder} holds: choose at most {smallest}, or fewer ranks"
        )
    return EpochPlan(split.rows, smallest // batch_size, batch_size, size)


def check_folder(path: str) -> Path:
    """The local folder of a finished data set without pickles. Opens metadata only; raises InputError."""
    if "://" in path and not path.startswith("file://"):
        scheme = path.split("://", maxsplit=1)[0]
        raise InputError(f"data.path: Petastorm with pyarrow 14 reads local folders and file:// only, got {scheme}://")
    if any(letter in path for letter in "?#;"):
        raise InputError(f"data.path: Petastorm takes the path for a URL, so '?', '#' and ';' cannot be in '{path}'")
    folder = Path(path.removeprefix("file://"))
    if not folder.is_dir():
        raise InputError(
            f"data.path: '{path}' is {'a file' if folder.exists() else 'missing'}, expected a data set folder"
        )
    if not (folder / "_SUCCESS").exists():
        raise InputError(f"data.path: '{path}' has no _SUCCESS: not a data set, or one whose writing was not finished")
    # pyarrow takes any file with this ending, at any depth, for the common metadata.
    for parent, folders, files in os.walk(folder):
        for name in folders:
            if Path(parent, name).is_symlink():
                raise InputError(
                    f"data.path: '{Path(parent, name)}' is a symbolic link to a folder: refused, because it can lead "
                    "to anything; put the files themselves there"
                )
        for name in sorted(files):
            if name.endswith("_metadata"):
                refuse_pickles(Path(parent, name))
    return folder


def refuse_pickles(file: Path) -> None:
    """Raise InputError when this Parquet metadata file holds a key that Petastorm would unpickle."""
    for key in _key_values(file):
        if key.startswith(PETASTORM_PREFIX) and key != ROW_GROUPS:
            raise InputError(
                f"{file} holds a pickle ({key.decode(errors='replace')}), which would run code when opened: refused; "
                "write the data set with jobs/materialize.py, which writes none"
            )


def read_split(path: str, name: str) -> Split:
    """The split `name` of the data set in `path`, from its manifest and the footers of its files.

    Raises InputError when the folder, the manifest, the metadata and the footers do not tell the same story.
    """
    root = check_folder(path)
    manifest = _manifest(root)
    expected = manifest["splits"].get(name, {"rows": 0, "row_groups": 0})
    folder = root / f"split={name}"
    files = sorted(file for file in folder.glob("*") if not file.name.startswith(("_", "."))) if folder.is_dir() else []
    counts = [_row_counts(file) for file in files]
    row_groups = tuple(rows for group in counts for rows in group)
    if (sum(row_groups), len(row_groups)) != (expected["rows"], expected["row_groups"]):
        raise InputError(
            f"{folder} holds {sum(row_groups)} rows in {len(row_groups)} row groups, its manifest says "
            f"{expected['rows']} in {expected['row_groups']}: it was changed after it was written; run "
            "jobs/materialize.py again"
        )
    if files:
        listed = _listed_row_groups(folder / COMMON_METADATA)
        if any(listed.get(file.name) != len(group) for file, group in zip(files, counts, strict=True)):
            raise InputError(
                f"{folder}/_common_metadata does not list the files that are there: run jobs/materialize.py again"
            )
    return Split(str(folder), int(manifest["num_classes"]), row_groups)


def digest_of(split: Split) -> str:
    """16 hex digits that change with the manifest and with the name, size or row groups of any file of the split."""
    folder = Path(split.folder)
    digest = hashlib.sha256((folder.parent / "_manifest.json").read_bytes())
    sizes = sorted((file.name, file.stat().st_size) for file in folder.iterdir())
    digest.update(repr((sizes, split.row_groups)).encode())
    return digest.hexdigest()[:16]


def _manifest(root: Path) -> dict[str, Any]:
    file = root / "_manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        int(manifest["num_classes"]), manifest["splits"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not the manifest of a data set ({type(error).__name__}: {error})") from error
    return manifest


def _row_counts(file: Path) -> tuple[int, ...]:
    try:
        footer = pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} is not a readable Parquet file: {' '.join(str(error).split())}") from error
    missing = set(schemas.DATASET.names) - set(footer.schema.to_arrow_schema().names)
    if missing:
        raise InputError(f"{file} lacks the columns {', '.join(sorted(missing))} of a data set")
    return tuple(footer.row_group(index).num_rows for index in range(footer.num_row_groups))


def _key_values(file: Path) -> dict[bytes, bytes]:
    try:
        return dict(pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} is not Parquet metadata: {' '.join(str(error).split())}") from error


def _listed_row_groups(file: Path) -> dict[str, int]:
    text = _key_values(file).get(ROW_GROUPS) if file.exists() else None
    if text is None:
        raise InputError(f"{file} is missing or lacks {ROW_GROUPS.decode()}: run jobs/materialize.py again")
    listed: dict[str, int] = json.loads(text)
    return listed
