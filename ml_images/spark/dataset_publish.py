"""Staged files become a data set, or a part of one that is there: what the manifest lists is what the data set is.

A data set that is written anew is not done until `_SUCCESS`, the last thing, is there. To one that is appended to,
files are added beside the old ones, then `_common_metadata` names them, and the manifest, by one rename, makes them
part of it. Until then the old manifest holds for the old files, which nobody touches; files that no manifest lists are
what an interrupted run has left, and the next one removes them. Readers that know no manifest (DuckDB, Spark) see new
files from the first rename on, which no order of steps avoids: files have to be there before anything names them.
"""

import re
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.provenance import provenance
from ml_images.report.data_card import CARD, data_card
from ml_images.schemas import SPLITS
from ml_images.spark.materialize import Options, Written
from ml_images.storage import tables
from ml_images.storage.manifest import FilePromise, promise_metadata, read_manifest, read_promises, write_manifest
from ml_images.storage.paths import join, open_location
from ml_images.storage.petastorm import COMMON_METADATA, write_row_group_counts

_VOCABULARY = "_vocabulary"
_OURS = re.compile(rf"split=({'|'.join(SPLITS)})/part-\d+\.parquet")  # names of our files, not of what others put there
# Options of which there cannot be two in one data set.
_SAME = (
    *(("splits", name) for name in ("seed", "val", "test", "lists")),
    *(("replication", name) for name in ("kind", "threshold")),
)
# What of the manifest stays, is added to or is told on the card again.
_NEEDED = ("lanes", "files", "replication", "appended", "config", "written_at", "versions", "commit")


def open_to_append(location: str, vocabulary: pa.Table, options: Options, groups: str) -> dict[str, FilePromise]:
    """The files of a finished data set, for rows to be appended; what an interrupted run has left there is removed.

    InputError where the new rows would not belong to the old ones: another vocabulary, another rule for splits or
    replication, row groups for another number of ranks; and where there are folds, which are made of all rows at once.
    """
    tables.require(location, "dataset")
    files = read_promises(location)
    manifest = read_manifest(location, *_NEEDED)
    version = "or write a second version, without append=true, with another output"
    folds, fold = (manifest["config"]["splits"][name] for name in ("folds", "fold"))
    if folds:
        raise InputError(
            f"'{location}' was written with splits.folds={folds}, to which nothing is appended, as folds are made of "
            f"all rows at once: give splits.folds={folds} splits.fold={fold} without append=true, which writes it anew "
            "or, with another output, a second version"
        )
    if manifest["lanes"] != options.layout.ranks:
        raise InputError(
            f"layout.ranks={options.layout.ranks} was given, '{location}' was written for {manifest['lanes']}: give "
            f"layout.ranks={manifest['lanes']} {version}"
        )
    given = {"splits": asdict(options.splits), "replication": asdict(options.replication)}
    for group, name in _SAME:
        before, now = manifest["config"][group][name], given[group][name]
        if before != now:
            raise InputError(
                f"{group}.{name}={now} was given, '{location}' was written with {before}: give {group}.{name}={before} "
                f"{version}"
            )
    configs = [manifest["config"], *(addition["config"] for addition in manifest["appended"])]
    before = next((config["groups"] for config in configs if config["groups"]), "")
    if before and not groups:
        raise InputError(f"'{location}' was written with groups={before}: give groups {version}")
    if not tables.read_part(join(location, _VOCABULARY)).equals(vocabulary):
        raise InputError(f"'{location}' was written with another vocabulary: annotate with the same one {version}")
    filesystem, path = open_location(location)
    with tables.storage_errors(location):
        for name in tables.parts(location):
            if name not in files and _OURS.fullmatch(name):
                filesystem.delete_file(join(path, name))
    return files


def publish(
    location: str, vocabulary: pa.Table, written: Written, config: dict[str, Any], *, append: bool
) -> dict[str, Any]:
    """Make the staged files a data set, or a part of the one that is there; its manifest."""
    if append:
        return _publish_appended(location, written, config)
    return _publish_new(location, vocabulary, written, config)


def _publish_new(location: str, vocabulary: pa.Table, written: Written, config: dict[str, Any]) -> dict[str, Any]:
    """Put the staged files in the place of whatever is there; the manifest. `_SUCCESS` comes last."""
    tables.begin_publishing(location)
    tables.clear(location)  # also what belongs to a split that an earlier run had and this one has not
    manifest = {
        "num_classes": len(vocabulary),
        "lanes": config["layout"]["ranks"],
        "splits": _add_splits({}, written),
        "labels": _labels(written),
        "files": {name: promise._asdict() for name, promise in written.files.items()},
        "replication": _replication(written),
        "appended": [],
        "config": config,
        **provenance(),
    }
    tables.move_staged(location, tables.staged_parts(location))
    tables.write_part(join(location, _VOCABULARY), vocabulary)
    _tell(location, manifest)
    tables.mark_done(location)
    return manifest


def _publish_appended(location: str, written: Written, config: dict[str, Any]) -> dict[str, Any]:
    """Add the staged files to the data set; the new manifest. The old one holds until all of them are there."""
    manifest = read_manifest(location, *_NEEDED)
    if written.files:
        source = provenance()
        addition = {"rows": written.plan.rows, "files": sorted(written.files), "config": config, **source}
        manifest |= {
            "splits": _add_splits(manifest["splits"], written),
            "labels": _labels(written),
            "files": manifest["files"] | {name: promise._asdict() for name, promise in written.files.items()},
            "replication": _replication(written),
            "appended": [*manifest["appended"], addition],
        }
        tables.move_staged(location, tables.staged_parts(location))
    tables.clear_staging(location)
    _tell(location, manifest)
    return manifest


def _tell(location: str, manifest: dict[str, Any]) -> None:
    """What the folder says of itself, the manifest last."""
    splits = [split for split in SPLITS if split in manifest["splits"]]
    row_groups = {name: promise["row_groups"] for name, promise in manifest["files"].items()}
    write_row_group_counts(location, splits, schemas.DATASET, row_groups)
    common = [COMMON_METADATA, *(f"split={split}/{COMMON_METADATA}" for split in splits)]
    tables.write_text(join(location, CARD), data_card(manifest))
    manifest["metadata"] = promise_metadata(location, [_VOCABULARY, CARD, *common])
    write_manifest(location, manifest)


def _add_splits(splits: dict[str, dict[str, int]], written: Written) -> dict[str, dict[str, int]]:
    """Rows and row groups of each split, with those that come."""
    added = {}
    for split in SPLITS:
        told = splits.get(split, {"rows": 0, "row_groups": 0})
        layout = written.plan.layouts.get(split)
        rows, row_groups = (layout.rows, layout.row_groups) if layout else (0, 0)
        if told["rows"] + rows:
            added[split] = {"rows": told["rows"] + rows, "row_groups": told["row_groups"] + row_groups}
    return added


def _labels(written: Written) -> dict[str, int]:
    """Positive labels of each split: what the counts of labels_per_split add up to, if they are of this state."""
    return {split: int(images.sum()) for split, images in written.labels.items()}


def _replication(written: Written) -> dict[str, Any] | None:
    return None if written.replicated is None else written.replicated.summary()
