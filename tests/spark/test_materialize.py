"""jobs/materialize.py over small tables: what is written, for every way of splitting, with and without groups."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.jobs import materialize, verify
from ml_images.labels.splits import SplitConfig, assign_splits, sort_hashes
from ml_images.storage import tables
from ml_images.train.class_tables import read_training_images
from ml_images.train.dataset import read_split

pytestmark = pytest.mark.spark

SplitsOf = Callable[[Path], dict[str, str]]


def groups_of(keys: list[str], seed: int) -> dict[str, list[str]]:
    """Some keys in groups of 1 to 9."""
    rng = np.random.default_rng(seed)
    shuffled, groups = list(rng.permutation(sorted(keys))), {}
    for number in range(30):
        size = int(rng.integers(1, 10))
        groups[f"g{number}"], shuffled = [str(key) for key in shuffled[:size]], shuffled[size:]
    return groups


def write_groups(folder: Path, groups: dict[str, list[str]]) -> str:
    pairs = [(key, group) for group, keys in groups.items() for key in keys]
    pq.write_table(pa.table({"key": [key for key, _ in pairs], "group": [g for _, g in pairs]}), folder / "g.parquet")
    return f"groups={folder}/g.parquet"


def row_groups(folder: Path) -> list[pa.Table]:
    """Of the files of a split, in their order."""
    found = []
    for part in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(part) as file:
            found += [file.read_row_group(group) for group in range(file.num_row_groups)]
    return found


def report_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "report.json").read_text())


def test_row_groups_are_fair_samples_of_equal_bytes_although_image_parts_hold_a_class_each(
    pictures: Any, spark: object
) -> None:
    assert materialize.main([*pictures.argv(), "splits.val=0.3", "layout.seed=5"]) == 0
    dataset = pictures.folder / "out/dataset"
    for split in ("train", "val"):
        groups = row_groups(dataset / f"split={split}")
        rows = pa.concat_tables(groups)
        keys, data = rows["key"].to_pylist(), rows["image"].to_pylist()
        assert keys == [keys[i] for i in np.argsort(sort_hashes(5, keys).view(np.int64))]
        assert data == [pictures.data[key] for key in keys]
        assert len(groups) % 3 == 0
        sizes = [sum(map(len, group["image"].to_pylist())) for group in groups]
        assert max(sizes) - min(sizes) <= 2 * max(map(len, data))
        # 11 rows show 6 * (1 - (5/6)**11) = 5.2 of the 6 classes on average.
        assert np.mean([len({classes[0] for classes in group["classes"].to_pylist()}) for group in groups]) > 4.5
    counts = report_of(pictures.folder / "out")["counts"]["rows"]
    assert counts == {
        "label rows": 360,
        "keys without an ok image": 2,
        "ok images without labels": 0,
        "in the data set": 358,
    }
    assert json.loads((dataset / "_manifest.json").read_text())["lanes"] == 3
    assert len(tables.parts(str(dataset))) > 4
    assert verify.main([f"dataset={dataset}"]) == 0


def test_the_data_set_is_that_of_the_images_whatever_their_parts_and_however_they_are_set_aside(
    pictures: Any, spark: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert materialize.main(pictures.argv()) == 0
    monkeypatch.setattr("ml_images.spark.picture_runs.RUN_BYTES", 80_000)
    assert materialize.main(pictures.argv("in_runs")) == 0
    rows = tables.read_table(f"{pictures.folder}/images", "images")
    tables.write_table(f"{pictures.folder}/images", "images", rows.sort_by("data"))
    assert materialize.main(pictures.argv("of_one_part")) == 0
    for name in tables.parts(f"{pictures.folder}/out/dataset"):
        contents = {
            (pictures.folder / out / "dataset" / name).read_bytes() for out in ("out", "in_runs", "of_one_part")
        }
        assert len(contents) == 1


@pytest.mark.parametrize("way", ["hash", "val list", "all lists", "folds"])
def test_a_group_is_never_in_two_splits(way: str, pictures: Any, spark: object, splits_of: SplitsOf) -> None:
    groups = groups_of(list(pictures.labels), seed=3)
    words = [*pictures.argv(), write_groups(pictures.folder, groups)]
    # Two keys of each group are listed, the others are not.
    listed = {key: "val" if number % 3 == 0 else "train" for number, g in enumerate(groups.values()) for key in g[:2]}
    unlisted = set(pictures.labels) - set(listed)
    lists = {split: [key for key in listed if listed[key] == split] for split in ("train", "val")}
    for split, keys in lists.items():
        (pictures.folder / f"{split}.txt").write_text("\n".join([*keys, f"unknown-{split}"]))
    val, train = (f"{split}={pictures.folder}/{split}.txt" for split in ("val", "train"))
    words += {
        "hash": ["splits.val=0.4"],
        "val list": [f"splits.lists=[{val}]"],
        "all lists": [f"splits.lists=[{val},{train}]"],
        "folds": ["splits.folds=4", "splits.fold=1"],
    }[way]
    assert materialize.main(words) == 0
    found = splits_of(pictures.folder / "out/dataset")
    assert set(found.values()) == {"train", "val"}
    for keys in groups.values():
        assert len({found[key] for key in keys if key in found}) <= 1
    counts = report_of(pictures.folder / "out")["counts"]["rows"]
    if way == "hash":
        items = {key: min(keys) for keys in groups.values() for key in keys}
        expected = assign_splits([items.get(key, key) for key in found], SplitConfig(val=0.4)).to_pylist()
        assert list(found.values()) == expected
    if way == "val list":
        for keys in groups.values():
            assert {found[key] for key in keys if key in found} <= {listed[keys[0]]}
        assert counts["in the data set"] == 358
        assert counts["listed keys that are no labelled ok image"] == 1 + len(set(lists["val"]) - set(pictures.data))
    if way == "all lists":
        assert found == {key: split for key, split in listed.items() if key in pictures.data}
        assert counts["in no list of splits"] == len(unlisted & set(pictures.data))


def test_lists_that_tear_groups_apart_are_refused(pictures: Any, spark: object) -> None:
    words = write_groups(pictures.folder, {"a": ["key-0001", "key-0002"], "b": ["key-0005", "key-0007", "key-0006"]})
    (pictures.folder / "l.csv").write_text("key,split\nkey-0001,val\nkey-0006,val\nkey-0007,test\nkey-0005,val\n")
    with pytest.raises(
        InputError,
        match=r"tear 1 groups of near duplicates apart, such as that of 'key-0005', which is in test and val",
    ):
        materialize.main([*pictures.argv(), words, f"splits.lists={pictures.folder}/l.csv"])


def test_groups_that_make_no_sense_are_refused(pictures: Any, spark: object) -> None:
    words = write_groups(pictures.folder, {"a": ["key-0001", "key-0002"], "b": ["key-0002"]})
    with pytest.raises(InputError, match=r"has 1 keys in two groups, such as 'key-0002'"):
        materialize.main([*pictures.argv(), words])
    with pytest.raises(InputError, match=r"groups table '.*' cannot be read"):
        materialize.main([*pictures.argv(), f"groups={pictures.folder}/none"])
    with pytest.raises(InputError, match=r"has the columns key, source, .*; key, group are needed"):
        materialize.main([*pictures.argv(), f"groups={pictures.folder}/labels"])
    (pictures.folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"groups table '.*/empty' cannot be read"):
        materialize.main([*pictures.argv(), f"groups={pictures.folder}/empty"])


def test_folds_are_the_same_in_every_data_set_and_spread_labels(
    pictures: Any, spark: object, splits_of: SplitsOf
) -> None:
    assert materialize.main([*pictures.argv("a"), "splits.folds=3", "splits.fold=0"]) == 0
    assert materialize.main([*pictures.argv("b"), "splits.folds=3", "splits.fold=2"]) == 0
    folds = [tables.read_table(f"{pictures.folder}/{name}/folds", "folds") for name in "ab"]
    assert folds[0].equals(folds[1])
    fold_of = dict(zip(*folds[0].to_pydict().values(), strict=True))
    assert fold_of.keys() == pictures.data.keys()
    for name, fold in (("a", 0), ("b", 2)):
        found = splits_of(pictures.folder / f"{name}/dataset")
        assert found == {key: "val" if fold_of[key] == fold else "train" for key in fold_of}
    rows = tables.read_table(f"{pictures.folder}/a/labels_per_fold", "labels_per_fold").to_pylist()
    images = {(row["class"], row["split"]): row["images"] for row in rows}
    for label in range(6):
        counts = [images[label, f"fold{fold}"] for fold in range(3)]
        assert sum(counts) == sum(label in pictures.labels[key] for key in pictures.data)
        assert max(counts) - min(counts) <= 1


def test_labels_that_a_split_lacks_are_counted_and_named(
    pictures: Any, spark: object, caplog: pytest.LogCaptureFixture
) -> None:
    of_class_2 = [key for key, labels in pictures.labels.items() if labels == [2]]
    (pictures.folder / "v.txt").write_text("\n".join(of_class_2))
    assert materialize.main([*pictures.argv(), f"splits.lists=[test={pictures.folder}/v.txt]"]) == 0
    rows = tables.read_table(f"{pictures.folder}/out/labels_per_split", "labels_per_split").to_pylist()
    images = {(row["class"], row["split"]): row["images"] for row in rows}
    assert images[2, "test"] == len(set(of_class_2) & set(pictures.data))
    assert images[5, "test"] == 0  # verified absent there
    assert images[5, "train"] == sum(5 in pictures.labels[key] for key in pictures.data)
    lacking = report_of(pictures.folder / "out")["labels_without_images"]
    assert lacking["test"]["labels"] == 5
    assert lacking["train"]["labels"] == 0
    assert "5 labels that have images have none in test, such as name" in caplog.text


def test_replication_factors_are_those_of_the_train_split(pictures: Any, spark: object) -> None:
    words = ["splits.val=0.3", "replication.kind=sqrt", "replication.threshold=0.5"]
    assert materialize.main([*pictures.argv(), *words]) == 0
    train = pq.read_table(pictures.folder / "out/dataset/split=train").to_pylist()
    images = Counter(label for row in train for label in pictures.labels[row["key"]])
    factors = {label: max(1, (0.5 * len(train) / count) ** 0.5) for label, count in images.items()}
    for row in train:
        expected = max(factors[label] for label in pictures.labels[row["key"]])
        assert row["replication"] == pytest.approx(expected, rel=1e-6)
    val = pq.read_table(pictures.folder / "out/dataset/split=val")
    assert set(val["replication"].to_pylist()) == {1.0}
    epoch = sum(row["replication"] for row in train)
    told = report_of(pictures.folder / "out")["replication"]
    assert told["epoch_rows"] == pytest.approx(epoch)
    for row in tables.read_table(f"{pictures.folder}/out/replication", "replication").to_pylist():
        shown = sum(each["replication"] for each in train if row["class"] in pictures.labels[each["key"]])
        assert row["epoch_share"] == pytest.approx(shown / epoch)
        assert row["share"] == images[row["class"]] / len(train)
    assert f"an\nepoch shows {epoch:,.0f} images" in (pictures.folder / "out/dataset/_card.md").read_text()


def test_fewer_rows_than_ranks_make_a_row_group_each(pictures: Any, spark: object) -> None:
    (pictures.folder / "v.txt").write_text("key-0001\nkey-0100")
    words = [f"splits.lists=[val={pictures.folder}/v.txt]", "layout.ranks=64"]
    assert materialize.main([*pictures.argv(), *words]) == 0
    manifest = json.loads((pictures.folder / "out/dataset/_manifest.json").read_text())
    assert manifest["splits"]["val"] == {"rows": 2, "row_groups": 2}
    assert manifest["splits"]["train"]["row_groups"] % 64 == 0


def test_a_key_that_is_in_the_images_twice_is_refused(pictures: Any, spark: object, tmp_path: Path) -> None:
    rows = tables.read_part(f"{tmp_path}/images/part-0.parquet")
    tables.write_part(f"{tmp_path}/images/part-9.parquet", rows.slice(10, 1))
    with pytest.raises(InputError, match=r"the images table has 1 keys of split train twice"):
        materialize.main([*pictures.argv(), "splits.val=0"])


def test_a_data_set_is_not_there_before_all_of_it_is(
    pictures: Any, spark: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    assert materialize.main(pictures.argv()) == 0
    monkeypatch.setattr("ml_images.spark.dataset_publish.write_row_group_counts", fail)
    with pytest.raises(RuntimeError, match="killed"):
        materialize.main([*pictures.argv(), "splits.val=0.2"])
    with pytest.raises(InputError, match="not finished"):
        tables.require(f"{pictures.folder}/out/dataset", "dataset")
    monkeypatch.undo()
    # Between the data set and the tables beside it: those of the earlier one are not taken for its own.
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr("ml_images.jobs.materialize.write_split_tables", fail)
        materialize.main([*pictures.argv(), "splits.val=0.2"])
    train = read_split(f"{pictures.folder}/out/dataset", "train")
    assert read_training_images(train) is None
    assert materialize.main([*pictures.argv(), "splits.val=0.2"]) == 0
    assert read_training_images(train) is not None
    assert verify.main([f"dataset={pictures.folder}/out/dataset"]) == 0
