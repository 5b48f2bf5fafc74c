"""Appending to a data set: new keys, new files, the old ones untouched, and nothing lost where it is interrupted."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.jobs import materialize, verify
from ml_images.labels.replication import ReplicationConfig
from ml_images.labels.splits import SplitConfig, assign_splits
from ml_images.provenance import provenance
from ml_images.spark.dataset_layout import LayoutConfig
from ml_images.spark.dataset_publish import open_to_append
from ml_images.spark.materialize import Options
from ml_images.storage import tables
from ml_images.storage.manifest import write_manifest
from ml_images.train.class_tables import read_training_images
from ml_images.train.dataset import read_split

pytestmark = pytest.mark.spark

NEW = [f"new-{number:03d}" for number in range(90)]


def digests(dataset: Path) -> dict[str, str]:
    return {name: hashlib.sha256((dataset / name).read_bytes()).hexdigest() for name in tables.parts(str(dataset))}


def test_new_keys_become_new_files_by_the_same_rule(
    pictures: Any, spark: object, splits_of: Callable[[Path], dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    words = [*pictures.argv(), "splits.val=0.3", "replication.kind=uniform", "replication.threshold=0.2"]
    assert materialize.main(words) == 0
    dataset = pictures.folder / "out/dataset"
    before = digests(dataset)
    pictures.add(NEW, without_image=["new-007"])
    assert materialize.main([*words, "append=true", "layout.seed=8"]) == 0
    after = digests(dataset)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    found = splits_of(dataset)
    keys = sorted(pictures.data)
    assert found == dict(zip(keys, assign_splits(keys, SplitConfig(val=0.3)).to_pylist(), strict=True))
    text = (dataset / "_manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["appended"][0]["rows"] == 89
    assert (
        f"89 of them were appended {manifest['appended'][0]['written_at']}, in the order of seed 8."
        in (dataset / "_card.md").read_text()
    )
    for split in ("train", "val"):
        read = read_split(str(dataset), split)  # manifest, _common_metadata and footers agree
        assert len(read.row_groups) % 3 == 0
    assert verify.main([f"dataset={dataset}"]) == 0
    (dataset / "_manifest.json").write_text(text.replace('"lanes": 3', '"lanes": 4'))
    assert verify.main([f"dataset={dataset}"]) == 1
    (dataset / "_manifest.json").write_text(text)
    counts = json.loads((pictures.folder / "out/report.json").read_text())["counts"]["rows"]
    assert (counts["in the data set"], counts["in the data set before"]) == (89, 358)
    rows = pq.read_table(dataset / "split=train").to_pylist()
    told = manifest["replication"]
    assert told["train_rows"] == len(rows)
    assert told["epoch_rows"] == pytest.approx(sum(row["replication"] for row in rows))
    # Once more there is nothing to add.
    assert materialize.main([*words, "append=true"]) == 0
    assert digests(dataset) == after
    assert json.loads((dataset / "_manifest.json").read_text())["files"] == manifest["files"]
    # A single row is no multiple of three row groups, which is told.
    caplog.clear()
    pictures.add(["one-more"])
    assert materialize.main([*words, "append=true"]) == 0
    told = json.loads((dataset / "_manifest.json").read_text())["splits"]
    ((split, row_groups),) = [(name, more["row_groups"]) for name, more in told.items() if more["row_groups"] % 3]
    assert row_groups == manifest["splits"][split]["row_groups"] + 1
    assert f"split {split} has {row_groups} row groups now, no multiple of layout.ranks=3" in caplog.text


def test_a_list_that_moves_keys_that_are_there_is_refused(
    pictures: Any, spark: object, splits_of: Callable[[Path], dict[str, str]]
) -> None:
    listed, dataset = pictures.folder / "v.txt", pictures.folder / "out/dataset"
    words = [*pictures.argv(), f"splits.lists=[val={listed}]"]
    listed.write_text("key-0001\nkey-0002\n")
    assert materialize.main(words) == 0
    before = digests(dataset)
    pictures.add(NEW)
    listed.write_text("key-0001\nkey-0004\nnew-001\n")
    with pytest.raises(InputError, match=r"move 1 keys: the data set has 'key-0004' in train, which is listed for val"):
        materialize.main([*words, "append=true"])
    assert digests(dataset) == before
    # A new key that is listed for another split than its near duplicate is in.
    pq.write_table(pa.table({"key": ["key-0002", "new-007"], "group": ["a", "a"]}), pictures.folder / "g.parquet")
    listed.write_text("key-0001\nkey-0002\nnew-001\n")
    assert materialize.main([*words, "append=true", f"groups={pictures.folder}/g.parquet"]) == 0
    assert splits_of(dataset)["new-007"] == "val"
    pictures.add(["new-200"])
    pq.write_table(pa.table({"key": ["key-0004", "new-200"], "group": ["a", "a"]}), pictures.folder / "g.parquet")
    listed.write_text("new-200\n")
    with pytest.raises(InputError, match=r"move 1 keys: the data set has near duplicates of 'new-200' in train"):
        materialize.main([*words, "append=true", f"groups={pictures.folder}/g.parquet"])
    listed.write_text(
        "key-0001\n"
    )  # no longer named is not named elsewhere; what others put there is neither read nor removed
    others = [dataset / "notes/a.txt", dataset / "split=train/notes.txt", dataset / "more/part-00000.parquet"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"key": [str(other)]}), other)
    assert materialize.main([*words, "append=true", f"groups={pictures.folder}/g.parquet"]) == 0
    assert splits_of(dataset)["new-200"] == "train" and all(other.exists() for other in others)
    val = {key for key, split in splits_of(dataset).items() if split == "val"}
    assert val == {"key-0001", "key-0002", "new-001", "new-007"}


def test_an_interrupted_append_leaves_the_old_data_set(
    pictures: Any, spark: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*pictures.argv(), "splits.val=0.3"]
    assert materialize.main(words) == 0
    dataset = pictures.folder / "out/dataset"
    before, manifest = digests(dataset), (dataset / "_manifest.json").read_bytes()
    pictures.add(NEW)

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    for step in ("tables.move_staged", "write_row_group_counts", "tables.write_json"):
        with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
            patched.setattr(f"ml_images.spark.dataset_publish.{step}", fail)
            materialize.main([*words, "append=true"])
        tables.require(str(dataset), "dataset")
        assert (dataset / "_manifest.json").read_bytes() == manifest
        now = digests(dataset)
        assert {name: now[name] for name in before} == before
        assert (len(now) > len(before)) == (step != "tables.move_staged")
    # Between publishing and the tables beside the data set, which are of another state of it then: readers say so.
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr("ml_images.jobs.materialize.write_split_tables", fail)
        materialize.main([*words, "append=true"])
    with pytest.raises(InputError, match=r"was cut off; run it again with append=true"):
        read_training_images(read_split(str(dataset), "train"))
    assert materialize.main([*words, "append=true"]) == 0
    counted = read_training_images(read_split(str(dataset), "train"))
    assert counted is not None
    assert counted.sum() == json.loads((dataset / "_manifest.json").read_text())["labels"]["train"]
    assert verify.main([f"dataset={dataset}"]) == 0
    rows = sum(pq.read_metadata(dataset / name).num_rows for name in tables.parts(str(dataset)))
    assert rows == len(pictures.data)


def test_new_members_of_a_group_go_where_the_group_is(
    pictures: Any, spark: object, splits_of: Callable[[Path], dict[str, str]]
) -> None:
    assert materialize.main([*pictures.argv(), "splits.val=0.5"]) == 0
    before = splits_of(pictures.folder / "out/dataset")
    val, train = (next(key for key in before if before[key] == split) for split in ("val", "train"))
    pictures.add(NEW)
    groups = {"v": [val, *NEW[:20]], "t": [train, *NEW[20:40]]}
    others = [next(key for key in reversed(before) if before[key] == split) for split in ("val", "train")]
    groups["both"] = [*others, NEW[40]]
    pairs = [(key, group) for group, keys in groups.items() for key in keys]
    table = pa.table({"key": [key for key, _ in pairs], "group": [group for _, group in pairs]})
    pq.write_table(table, pictures.folder / "g.parquet")
    words = ["splits.val=0.5", "append=true", f"groups={pictures.folder}/g.parquet"]
    assert materialize.main([*pictures.argv(), *words]) == 0
    found = splits_of(pictures.folder / "out/dataset")
    assert {found[key] for key in NEW[:20]} == {"val"}
    assert {found[key] for key in NEW[20:40]} == {"train"}
    assert NEW[40] not in found
    counts = json.loads((pictures.folder / "out/report.json").read_text())["counts"]["rows"]
    assert counts["near duplicates of images in two splits"] == 1
    assert {key: found[key] for key in before} == before


@pytest.mark.parametrize("ranks", [8, 4])
def test_folds_tell_how_to_write_them_anew_as_nothing_is_appended_to_them(tmp_path: Path, ranks: int) -> None:
    tables.claim(str(tmp_path), "dataset")
    splits = asdict(SplitConfig(folds=3, fold=1))
    layout, replication = LayoutConfig(ranks=ranks), ReplicationConfig()
    config = {"groups": "", "splits": splits, "layout": asdict(layout), "replication": asdict(replication)}
    told = {"num_classes": 1, "lanes": 8, "splits": {}, "files": {}, "replication": None, "appended": []}
    write_manifest(str(tmp_path), told | {"config": config} | provenance())
    tables.mark_done(str(tmp_path))
    with pytest.raises(InputError, match=r": give splits\.folds=3 splits\.fold=1 without append=true, which writes"):
        open_to_append(str(tmp_path), pa.table({}), Options(SplitConfig(), layout, replication), "")


def test_groups_are_asked_for_again_also_where_only_an_addition_had_them(tmp_path: Path) -> None:
    tables.claim(str(tmp_path), "dataset")
    options = Options(SplitConfig(), LayoutConfig(ranks=8), ReplicationConfig())
    config = {"groups": "", **{name: asdict(getattr(options, name)) for name in ("splits", "layout", "replication")}}
    additions = [{"rows": 1, "written_at": "", "config": config | {"groups": name}} for name in ("", "g.parquet")]
    told = {"num_classes": 1, "lanes": 8, "splits": {}, "files": {}, "replication": None, "appended": additions}
    write_manifest(str(tmp_path), told | {"config": config} | provenance())
    tables.mark_done(str(tmp_path))
    with pytest.raises(InputError, match=r"was written with groups=g\.parquet: give groups or write a second"):
        open_to_append(str(tmp_path), pa.table({}), options, "")


def test_what_does_not_belong_to_the_data_set_is_refused(pictures: Any, spark: object) -> None:
    assert materialize.main(pictures.argv()) == 0
    cases = {
        "splits.lists=[val=v.txt]": r"splits\.lists=.* was given, .* was written with \[\]: give splits\.lists=\[\]",
        "layout.ranks=4": r"layout\.ranks=4 was given, .* was written for 3: give layout\.ranks=3 or write a second",
        "splits.seed=1": r"splits\.seed=1 was given, .* was written with 0: give splits\.seed=0",
        "replication.kind=sqrt": r"replication\.kind=sqrt was given, .* was written with none",
        "splits.folds=2": r"append=true does not go with splits\.folds",
        f"output={pictures.folder}/other": r"dataset table '.*other/dataset' does not exist",
    }
    for word, message in cases.items():
        with pytest.raises(InputError, match=message):
            materialize.main([*pictures.argv(), "append=true", word])
    vocabulary = tables.read_table(f"{pictures.folder}/vocabulary", "vocabulary")
    names = pa.array([["other"]] * len(vocabulary), vocabulary.schema.field("names").type)
    number = vocabulary.schema.get_field_index("names")
    changed = vocabulary.set_column(number, vocabulary.schema.field("names"), names)
    tables.write_table(f"{pictures.folder}/vocabulary", "vocabulary", changed)
    with pytest.raises(InputError, match="was written with another vocabulary"):
        materialize.main([*pictures.argv(), "append=true"])
