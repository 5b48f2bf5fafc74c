import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.jobs import export, ingest

ORIGINAL = "extract.image.short_side=original"
COLUMNS = ["key", "image", "classes", "confidences"]


def rows_of(dataset: Path) -> dict[str, dict[str, Any]]:
    """By key: what must come back, and its split."""
    rows = {}
    for file in dataset.glob("split=*/*.parquet"):
        split = file.parent.name.removeprefix("split=")
        rows |= {row["key"]: row | {"split": split} for row in pq.ParquetFile(file).read(COLUMNS).to_pylist()}
    return rows


def ingested(folder: Path) -> dict[str, dict[str, Any]]:
    labels = pq.read_table(folder / "labels").to_pylist()
    images = {row["key"]: row for row in pq.read_table(folder / "images").to_pylist()}
    splits = {row["key"]: row["split"] for row in pq.read_table(folder / "splits/part-000000.parquet").to_pylist()}
    assert len(labels) == len(images) == len(splits) and {row["outcome"] for row in images.values()} == {"ok"}
    return {
        row["key"]: {
            **{name: row[name] for name in ("key", "classes", "confidences")},
            "image": images[row["key"]]["data"],
            "split": splits[row["key"]],
        }
        for row in labels
    }


@pytest.fixture(scope="module")
def rows(chain: Any) -> dict[str, dict[str, Any]]:
    return rows_of(chain.materialize / "dataset")


@pytest.mark.parametrize("format", ["tfrecord", "dense", "webdataset", "imagefolder"])
def test_what_is_exported_comes_back(
    format: str, chain: Any, rows: dict[str, dict[str, Any]], spark: object, tmp_path: Path
) -> None:
    argv = ["shards.bytes=200000", "format=" + ("tfrecord" if format == "dense" else format)]
    argv += ["shards.layout=dense"] if format == "dense" else []
    assert export.main([f"dataset={chain.materialize}/dataset", f"output={tmp_path}/out", *argv]) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert sum(report["counts"]["rows by split"].values()) == report["counts"]["exported"]["rows"] == len(rows)
    assert len(report["shards"]) == report["counts"]["exported"]["shards"] > 2
    assert not [file for file in (tmp_path / "out").rglob("*") if file.name.startswith(".")]
    assert not (tmp_path / "out/_staging").exists() or not list((tmp_path / "out/_staging").iterdir())

    assert ingest.main([f"inputs={tmp_path}/out", argv[1], f"output={tmp_path}/in", ORIGINAL]) == 0
    back = ingested(tmp_path / "in")
    absent = 0
    for key, row in rows.items():
        labels = dict(zip(row["classes"], row["confidences"], strict=True))
        if format == "dense":
            absent += list(labels.values()).count(0.0)
            labels = {class_: sure for class_, sure in labels.items() if sure}
        assert back[key] == row | {"classes": list(labels), "confidences": list(labels.values())}
    assert back.keys() == rows.keys()
    assert report["counts"]["exported"]["labels_lost"] == absent
    vocabulary = pq.read_table(chain.annotate / "vocabulary")
    assert pq.read_table(tmp_path / "in/vocabulary").equals(vocabulary)
    if format == "imagefolder":
        folders = sorted(path.name for path in (tmp_path / "out/train").iterdir())
        assert folders == sorted(folders, key=int) and len({len(name) for name in folders}) == 1


def test_an_export_takes_the_place_of_an_earlier_one(chain: Any, spark: object, tmp_path: Path) -> None:
    argv = [f"dataset={chain.materialize}/dataset", f"output={tmp_path}/out", "format=webdataset"]
    assert export.main([*argv, "shards.bytes=100000"]) == 0
    many = {path.relative_to(tmp_path): path.read_bytes() for path in (tmp_path / "out").rglob("*.tar")}
    assert export.main([*argv, "shards.bytes=100000"]) == 0
    assert {path.relative_to(tmp_path): path.read_bytes() for path in (tmp_path / "out").rglob("*.tar")} == many
    assert export.main(argv) == 0
    assert len(list((tmp_path / "out").rglob("*.tar"))) == 2 < len(many)
    assert export.main([*argv, "format=imagefolder"]) == 0
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_what_the_manifest_does_not_promise_is_not_exported(chain: Any, spark: object, tmp_path: Path) -> None:
    dataset = shutil.copytree(chain.materialize / "dataset", tmp_path / "dataset")
    train = sorted((dataset / "split=train").glob("*.parquet"))[0]
    shutil.copy(train, train.with_name("part-99999.parquet"))
    argv = [f"dataset={dataset}", f"output={tmp_path}/out", "format=tfrecord"]
    assert export.main(argv) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["exported"]["rows"] == len(rows_of(chain.materialize / "dataset"))
    manifest = json.loads((dataset / "_manifest.json").read_text())
    whole = json.dumps(manifest)
    manifest["files"][f"split=train/{train.name}"]["rows"] += 1
    (dataset / "_manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"rows, not those of its manifest"):
        export.main(argv)
    (dataset / "_manifest.json").write_text(whole)
    train.write_bytes(train.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"is not as its manifest says; jobs/verify.py"):
        export.main(argv)
    train.unlink()
    with pytest.raises(InputError, match="is not as its manifest says"):
        export.main(argv)
    assert json.loads((tmp_path / "out/report.json").read_text()) == report  # the earlier one stays whole


def test_wrong_options_are_one_line(chain: Any, tmp_path: Path) -> None:
    argv = [f"dataset={chain.materialize}/dataset", f"output={tmp_path}/out"]
    with pytest.raises(InputError, match="option 'format' is required"):
        export.main(argv)
    with pytest.raises(InputError, match=r"tfrecord.webdataset.imagefolder"):
        export.main([*argv, "format=zip"])
    with pytest.raises(InputError, match=r"shards.bytes must be at least 65536, got 1"):
        export.main([*argv, "format=tfrecord", "shards.bytes=1"])
    with pytest.raises(InputError, match=r"output '.*/split=train/x' lies in the data set"):
        export.main([argv[0], f"output={chain.materialize}/dataset/split=train/x", "format=tfrecord"])
    with pytest.raises(InputError, match="is not a dataset table"):
        export.main([f"dataset={chain.annotate}/labels", f"output={tmp_path}/out", "format=tfrecord"])


def test_confidences_come_back_to_the_last_bit(rows: dict[str, dict[str, Any]]) -> None:
    """What the round trips compare is worth comparing: several splits, several labels, fractional confidences."""
    assert {row["split"] for row in rows.values()} == {"train", "val"}
    sure = np.concatenate([row["confidences"] for row in rows.values()])
    assert len(sure) > 3 * len(rows) and ((sure > 0) & (sure < 1)).any()
