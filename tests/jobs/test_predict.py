import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from dataset_builder import COLOURS, jpeg
from trained_builder import untrained, write_checkpoint

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.jobs import cooccur, evaluate, features, predict
from ml_images.spark import apply_model
from ml_images.storage import tables
from ml_images.train.picture_model import PictureModel
from ml_images.train.trained import load_trained


def network(chain: Any, folder: Path) -> Path:
    """A network of random weights, for the classes of the sample."""
    names = class_names(chain)
    return write_checkpoint(folder, untrained(num_classes=len(names)), class_names=names)


def class_names(chain: Any) -> list[str]:
    return [names[0] for names in pq.read_table(chain.annotate / "vocabulary")["names"].to_pylist()]


def scored(checkpoint: Path, pictures: dict[str, bytes]) -> dict[str, np.ndarray]:
    logits = PictureModel(load_trained(checkpoint), torch.device("cpu")).logits(list(pictures.values())).values
    return dict(zip(pictures, logits.sigmoid().numpy(), strict=True))


def test_every_key_of_the_images_has_an_outcome_and_every_picture_its_best_classes(
    chain: Any, spark: object, tmp_path: Path
) -> None:
    checkpoint, images = network(chain, tmp_path), pq.read_table(chain.download / "images")
    words = [f"pictures={chain.download}/images", f"checkpoint={checkpoint}", f"output={tmp_path}/out"]
    assert predict.main([*words, "top=3", "above=0.4", "batch_size=7"]) == 0
    table, ends = (pq.read_table(tmp_path / "out" / name) for name in ("predictions", "outcomes"))
    assert table.schema.equals(schemas.PREDICTIONS)
    assert ends.schema.equals(schemas.OUTCOMES)
    outcomes = dict(zip(images["key"].to_pylist(), images["outcome"].to_pylist(), strict=True))
    assert dict(zip(ends["key"].to_pylist(), ends["outcome"].to_pylist(), strict=True)) == outcomes
    assert ends.num_rows == images.num_rows > table.num_rows > 20
    pictures = {row["key"]: row["data"] for row in images.select(["key", "data"]).to_pylist() if row["data"]}
    wanted = scored(checkpoint, pictures)
    assert sorted(table["key"].to_pylist()) == sorted(wanted)
    for row in table.to_pylist():
        scores = wanted[row["key"]]
        kept = [number for number in np.argsort(-scores, kind="stable")[:3].tolist() if scores[number] > 0.4]
        assert row["classes"] == kept
        assert row["scores"] == pytest.approx(scores[kept].tolist(), abs=1e-5)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sum(report["counts"]["keys by outcome"].values()) == images.num_rows
    argv = [f"annotations={chain.annotate}", f"predictions={tmp_path}/out/predictions", f"output={tmp_path}/pairs"]
    assert cooccur.main([*argv, "min_count=3", "strong.score_above=0.4"]) == 0
    counts = json.loads((tmp_path / "pairs" / "report.json").read_text())["counts"]["strong pairs"]
    assert counts["rows of predictions"] == table.num_rows == counts["label rows with predictions"]


def test_pictures_that_a_model_cannot_read_are_counted_and_keep_their_key(spark: object, tmp_path: Path) -> None:
    rows = {"a": jpeg(COLOURS[0]), "b": jpeg(COLOURS[1])[:300], "c": b"<html>", "d": jpeg(COLOURS[2]), "e": None}
    empty = dict.fromkeys(schemas.IMAGES.names)
    told = {"attempts": 1, "elapsed_ms": 1, "fetched_at": 0}
    made = [
        {**empty, **told, "key": key, "data": data, "outcome": "ok" if data else "not_found"}
        for key, data in rows.items()
    ]
    for number, part in enumerate((made[:3], made[3:])):
        table = pa.Table.from_pylist(part, schemas.IMAGES)
        if number == 0:
            tables.write_table(f"{tmp_path}/images", "images", table)
        else:
            tables.write_part(f"{tmp_path}/images/part-000001.parquet", table)
    checkpoint = write_checkpoint(tmp_path / "run", untrained())
    words = [f"pictures={tmp_path}/images", f"checkpoint={checkpoint}", f"output={tmp_path}/out", "top=1"]
    assert predict.main([*words, "max_loss=0.49"]) == 3  # two of the four pictures
    assert predict.main([*words, "max_loss=0.5"]) == 0
    assert features.main([*words[:2], f"output={tmp_path}/features", "max_loss=0.49"]) == 3
    ends = pq.read_table(tmp_path / "out" / "outcomes").to_pylist()
    assert {row["key"]: row["outcome"] for row in ends} == {
        "a": "ok",
        "b": "undecodable",
        "c": "not_an_image",
        "d": "ok",
        "e": "not_found",
    }
    assert pq.read_table(tmp_path / "out" / "predictions")["key"].to_pylist() == ["a", "d"]


def test_a_split_of_a_data_set_with_names(chain: Any, spark: object, tmp_path: Path) -> None:
    checkpoint, dataset = network(chain, tmp_path), chain.materialize / "dataset"
    words = [f"pictures={dataset}", "split=val", f"checkpoint={checkpoint}", f"output={tmp_path}/out", "names=true"]
    assert predict.main([*words, "top=2"]) == 0
    names = class_names(chain)
    rows = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
    assert sorted(row["key"] for row in rows) == sorted(pq.read_table(dataset / "split=val")["key"].to_pylist())
    for row in rows:
        assert row["names"] == [names[number] for number in row["classes"]]
        assert len(row["classes"]) == 2


def test_each_class_is_kept_from_the_threshold_on_at_which_an_evaluation_found_its_best_f1(
    chain: Any, spark: object, tmp_path: Path
) -> None:
    checkpoint, dataset = network(chain, tmp_path), chain.materialize / "dataset"
    asked = [f"checkpoint={checkpoint}", f"output={tmp_path}/eval"]
    assert evaluate.main([*asked, f"data={dataset}", "image_sizes=[32,40]", "split=train"]) == 0
    measured = pq.read_table(tmp_path / "eval" / "per_class").to_pylist()
    of_size = [row for row in measured if row["image_size"] == load_trained(checkpoint).image_size]
    told = {row["class"]: row for row in of_size if row["threshold"] is not None}
    assert 0 < len(told) < len(of_size)
    words = [f"pictures={dataset}", "split=train", f"checkpoint={checkpoint}", f"output={tmp_path}/out"]
    assert predict.main([*words, "top=0", "above=0.99", f"thresholds={tmp_path}/eval/per_class"]) == 0
    kept = {row["key"]: set(row["classes"]) for row in pq.read_table(tmp_path / "out" / "predictions").to_pylist()}
    rows = pq.read_table(dataset / "split=train", columns=["key", "classes"]).to_pylist()
    shown = {row["key"]: set(row["classes"]) for row in rows}
    assert set().union(*kept.values()) == set(told)
    for number, row in told.items():
        right = sum(number in shown[key] and number in found for key, found in kept.items())
        either = sum((number in shown[key]) + (number in found) for key, found in kept.items())
        assert 2 * right / either == pytest.approx(row["best_f1"])


def test_batches_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_part(f"{tmp_path}/part.parquet", pa.table({"data": [bytes(1000)] * 40}))
    assert apply_model._rows_at_once(f"{tmp_path}/part.parquet", "data", 32) == 32
    monkeypatch.setattr(apply_model, "BATCH_BYTES", 5500)
    assert apply_model._rows_at_once(f"{tmp_path}/part.parquet", "data", 32) == 5
    monkeypatch.setattr(apply_model, "BATCH_BYTES", 10)
    assert apply_model._rows_at_once(f"{tmp_path}/part.parquet", "data", 32) == 1


def test_wrong_input_is_one_line_and_writes_nothing(chain: Any, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, untrained())
    words = [f"pictures={chain.download}/images", f"checkpoint={checkpoint}", f"output={tmp_path}/out"]
    for changed, says in (
        ("split=val", "which has no splits"),
        (f"pictures={tmp_path}/none", "does not exist"),
        (f"pictures={chain.annotate}/labels", "holds 'labels', a table images or a data set is expected"),
        (f"checkpoint={tmp_path}", "is not a whole checkpoint"),
        ("top=-1", "top must be >= 0, got -1"),
        ("batch_size=0", "batch_size must be at least 1, got 0"),
        ("max_loss=2", "max_loss is a share from 0 to 1, got 2"),
        ("names=true", "names=true, but the checkpoint has no names"),
        (f"thresholds={chain.download}/images", "holds 'images', a table per_class is expected|per_class"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            predict.main([*words, changed])
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_goes_on_and_another_one_begins_anew(
    spark: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = dict.fromkeys(schemas.IMAGES.names) | {"attempts": 1, "elapsed_ms": 1, "fetched_at": 0}
    tables.claim(f"{tmp_path}/images", "images")
    for number, colour in enumerate(COLOURS[:3]):
        found = {"key": f"k{number}", "data": jpeg(colour), "outcome": "ok"}
        lost = {"key": f"lost{number}", "outcome": "not_found"}
        rows = pa.Table.from_pylist([empty | found, empty | lost], schemas.IMAGES)
        tables.write_part(f"{tmp_path}/images/part-{number:06d}.parquet", rows)
    tables.mark_done(f"{tmp_path}/images")
    checkpoint = write_checkpoint(tmp_path / "run", untrained())
    words = [f"pictures={tmp_path}/images", f"checkpoint={checkpoint}", f"output={tmp_path}/out"]

    def interrupt(*given: str) -> dict[str, tuple[int, int]]:
        """A run that ends when two of three parts are done: their files' numbers."""
        with monkeypatch.context() as patched:
            patched.setattr(tables, "publish", lambda *_: sys.exit("killed"))
            with pytest.raises(SystemExit, match="killed"):
                predict.main([*words, *given])
        (tmp_path / "out" / "predictions" / "_staging" / "part-000001.parquet").unlink()
        return numbers("predictions/_staging")

    def numbers(folder: str) -> dict[str, tuple[int, int]]:
        """And the times, as numbers come again."""
        found = ((path.name, path.stat()) for path in (tmp_path / "out" / folder).glob("part-*"))
        return {name: (told.st_ino, told.st_mtime_ns) for name, told in found}

    made = interrupt("top=1")
    assert sorted(made) == ["part-000000.parquet", "part-000002.parquet"]
    capsys.readouterr()
    assert predict.main([*words, "top=1", "max_loss=0.2"]) == 0
    assert "goes on: 2 of 3 parts are done" in capsys.readouterr().err
    assert made.items() < numbers("predictions").items()
    ends = pq.read_table(tmp_path / "out" / "outcomes").to_pylist()
    assert Counter(row["outcome"] for row in ends) == {"ok": 3, "not_found": 3}
    assert pq.read_table(tmp_path / "out" / "predictions").num_rows == 3
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]["keys by outcome"]
    assert counts == {"ok": 3, "not_found": 3}

    for given, change in (
        ("top=2", lambda: None),
        ("top=1", lambda: os.utime(tmp_path / "images/part-000000.parquet")),
    ):
        made = interrupt("top=1")
        change()
        assert predict.main([*words, given]) == 0
        assert not set(numbers("predictions").values()) & set(made.values())
        rows = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
        assert {len(row["classes"]) for row in rows} == {int(given[-1])}
