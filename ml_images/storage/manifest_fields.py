"""The fields of a data set's manifest, for storage.manifest to check them by.

The reader of a split needs the first two only: data sets that no job of ours wrote may tell no more.
"""

from typing import TypedDict


class Counts(TypedDict):
    rows: int
    row_groups: int


class Content(TypedDict):
    bytes: int
    sha256: str  # hexadecimal


class File(Counts, Content):
    pass


class _Splits(TypedDict):
    seed: float  # up to 2^64 - 1, beyond what counts may be
    val: float
    test: float
    lists: list[str]
    folds: int
    fold: int


class _Layout(TypedDict):
    seed: float  # up to 2^64 - 1, beyond what counts may be


class _Rule(TypedDict):
    kind: str
    threshold: float


class Config(TypedDict):
    """Of the options of jobs/materialize.py, those that somebody asks for later."""

    groups: str
    splits: _Splits
    layout: _Layout
    replication: _Rule


_Share = TypedDict("_Share", {"class": int, "before": float, "after": float})


class Replication(TypedDict):
    train_rows: int
    epoch_rows: float
    classes_repeated: int
    largest_factor: float
    shares: dict[str, _Share]


class Addition(TypedDict):
    rows: int
    written_at: str
    config: Config


_Versions = TypedDict("_Versions", {"ml-images": str})


class _Needed(TypedDict):
    num_classes: int
    splits: dict[str, Counts]


class Manifest(_Needed, total=False):
    lanes: int
    labels: dict[str, int]
    files: dict[str, File]
    replication: Replication | None
    appended: list[Addition]
    config: Config
    written_at: str
    versions: _Versions
    commit: str | None
    metadata: dict[str, Content]
