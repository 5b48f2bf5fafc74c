"""The page that travels with a data set and tells a stranger what is in it, how it came about and how to read it."""

from collections.abc import Mapping
from typing import Any

CARD = "_card.md"  # readers of Parquet pass over names that begin with an underscore

_PAGE = """# A multi-label image data set

{total:,} pictures with labels of {num_classes:,} classes, {megabytes:,.1f} MB in {files:,} files, written {written_at}
by ml-images {version}{commit}.{appended}

| split | rows | row groups | files | bytes |
|---|---|---|---|---|
{splits}

## Columns

| column | type | what it is |
|---|---|---|
| key | string | what identifies the picture in the lists that it came from |
| image | binary | a JPEG of training size |
| width, height | int32 | of that JPEG, in pixels |
| classes | list of int32 | ascending; a class is a row number of `_vocabulary` |
| confidences | list of float32 | one for each class: in (0, 1], 0 where a person saw that it is absent, -1 unknown |
| replication | float32 | how often the picture is to be shown in an epoch, on average; 1 outside of train |
| split | string | the folder: split=train, split=val, split=test |

A class that a row does not name is unlabelled, which is not the same as absent. Rows were split {rule}. They lie in
the order of a hash of (seed {seed}, key), so every row group is a fair sample of its split{in_files}. The row groups of
a split have about equal bytes, and their number is a multiple of {lanes} where there are enough rows.
{replication}
## Reading

    pyarrow.parquet.read_table("DATASET/split=val", columns=["key", "classes"])
    duckdb: select split, count(*) from read_parquet('DATASET/split=*/*.parquet') group by 1
    petastorm.make_reader("file:///.../DATASET/split=train")       nothing in here is a pickle
    python train.py conf/train/pretrain.yaml data.path=DATASET

`ml-images verify dataset=DATASET` compares every file with `_manifest.json`, which has the digests, all options of the
job and the versions. The pictures belong to those who made them; what may be done with them, their sources say.
"""


_REPLICATION = """
## Replication

Images of rare classes (below {threshold:g} of the images of train) are to be shown more often, by the {kind} rule: an
epoch shows {epoch_rows:,.0f} images instead of {train_rows:,}; {classes_repeated:,} classes are repeated, {largest:.1f}
times at most.

| class | | share of train | share of an epoch |
|---|---|---|---|
{shares}
"""


def data_card(manifest: Mapping[str, Any]) -> str:
    """Markdown; `manifest` as storage.manifest describes it."""
    files, config = manifest["files"], manifest["config"]
    rows = []
    for split, told in manifest["splits"].items():
        sizes = [file["bytes"] for name, file in files.items() if name.startswith(f"split={split}/")]
        rows.append(f"| {split} | {told['rows']:,} | {told['row_groups']:,} | {len(sizes):,} | {sum(sizes):,} |")
    commit = manifest["commit"]
    appended = manifest["appended"]
    return _PAGE.format(
        total=sum(told["rows"] for told in manifest["splits"].values()),
        num_classes=manifest["num_classes"],
        megabytes=sum(file["bytes"] for file in files.values()) / 1e6,
        files=len(files),
        written_at=manifest["written_at"],
        version=manifest["versions"]["ml-images"],
        commit=f" (commit {commit[:12]})" if commit else "",
        appended="".join(map(_addition, appended)),
        splits="\n".join(rows),
        rule=_rule(config["splits"]),
        seed=config["layout"]["seed"],
        in_files=", of those that were written at the same time" if appended else "",
        lanes=manifest["lanes"],
        replication=_replication(manifest["replication"], config["replication"]),
    )


def _addition(told: Mapping[str, Any]) -> str:
    seed = told["config"]["layout"]["seed"]
    return f"\n{told['rows']:,} of them were appended {told['written_at']}, in the order of seed {seed}."


def _rule(splits: Mapping[str, Any]) -> str:
    if splits["lists"]:
        return "by given lists"
    if splits["folds"]:
        return f"into {splits['folds']} stratified folds (seed {splits['seed']}), of which fold {splits['fold']} is val"
    return f"by a hash of their keys (seed {splits['seed']}), val {splits['val']:g} and test {splits['test']:g} of them"


def _replication(told: Mapping[str, Any] | None, config: Mapping[str, Any]) -> str:
    if told is None:
        return ""
    shares = [
        f"| {share['class']} | {name} | {share['before']:.2g} | {share['after']:.2g} |"
        for name, share in told["shares"].items()
    ]
    names = ("train_rows", "epoch_rows", "classes_repeated")
    return _REPLICATION.format(
        threshold=config["threshold"],
        kind=config["kind"],
        largest=told["largest_factor"],
        shares="\n".join(shares),
        **{name: told[name] for name in names},
    )
