"""The lists that the CIFAR-10 runs start from, and what is told about them."""

import struct
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cifar10 import steps
from cifar10_figure import curve, draw
from cifar10_lists import Files, cut_vocabulary, held_out, is_open, list_line, to_text, write_files
from cifar10_report import CLOSURES, VIEWS, Found, goals_of, map_by_place, to_markdown

from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary

# thing - (animal - (cat, dog), plant, vehicle - car)
TREE = Vocabulary(
    ("n0", "n1", "n2", "n3", "n4", "n5", "n6"),
    (("thing",), ("animal",), ("plant",), ("cat", "true cat"), ("vehicle",), ("car",), ("dog",)),
    ((), (0,), (0,), (1,), (0,), (4,), (1,)),
)


def test_a_vocabulary_is_cut_to_the_classes_and_all_above_them() -> None:
    found = cut_vocabulary(TREE, {"n3", "n5"})
    assert found.ids == ("n0", "n1", "n3", "n4", "n5")
    assert found.parents == ((), (0,), (1,), (0,), (3,))
    assert found.names[2] == ("cat", "true cat")
    assert parse_vocabulary(to_text(found).encode(), "x") == found


def test_the_last_of_each_class_are_held_out_whatever_the_order() -> None:
    assert held_out(["a", "b", "a", "a", "b"], 2) == [False, True, True, True, True]
    assert held_out(["a", "b", "a", "a", "b"], 1) == [False, False, False, True, True]


def test_two_rows_of_three_do_not_vouch_for_their_label() -> None:
    keys = [f"cat/{number:04d}.jpg" for number in range(5000)]
    share = sum(map(is_open, keys)) / len(keys)
    assert share == pytest.approx(0.65, abs=0.02)
    assert {list_line(key, 3).split("\t")[1] for key in keys} == {"3:0.9\n", "3:1\n"}


def test_files_hold_every_row_once(tmp_path: Path) -> None:
    keys = [f"{name}/{number:04d}.jpg" for name in ("cat", "car") for number in range(1200)]
    wnids = ["n3"] * 1200 + ["n5"] * 1200
    jpegs = [b"picture %d" % number for number in range(2400)]
    pq.write_table(pa.table({"key": keys, "wnid": wnids, "jpeg": jpegs}), tmp_path / "rows.parquet")
    (tmp_path / "whole.txt").write_text(to_text(TREE))
    files = write_files(tmp_path / "rows.parquet", tmp_path / "whole.txt", tmp_path / "given")
    lines = files.train.read_text().splitlines() + files.val.read_text().splitlines()
    classes = {key: label.split(":")[0] for key, label in (line.split("\t") for line in lines)}
    assert len(lines) == 2400
    assert classes == dict(zip(keys, ["2"] * 1200 + ["4"] * 1200, strict=True))
    assert files.val_keys.read_text().splitlines() == keys[200:1200] + keys[1400:]
    with tarfile.open(files.archive) as archive:
        assert archive.getnames() == keys
        content = archive.extractfile(keys[7])
        assert content is not None and content.read() == jpegs[7]


def test_the_open_data_set_has_open_training_rows_and_closed_validation_rows(tmp_path: Path) -> None:
    commands = {step.name: " ".join(step.command) for step in steps(Files(tmp_path), tmp_path, ["epochs=3"])}
    assert "val.txt" not in commands["annotate-as_released"] and "val.txt" in commands["annotate-closed_max"]
    assert f"annotations={tmp_path}/annotate-as_released" in commands["materialize-as_released"]
    appended = commands["materialize-as_released-val"]
    assert f"annotations={tmp_path}/annotate-closed_max" in appended and "append=true" in appended
    for closure in CLOSURES:
        assert commands[f"train-{closure}"].endswith("epochs=3")
        for views in VIEWS:
            assert f"data={tmp_path}/materialize-closed_max/dataset" in commands[f"evaluate-{closure}-{views}"]


def test_precision_is_averaged_over_leaves_what_is_above_them_and_the_rest() -> None:
    tree = cut_vocabulary(TREE, {"n3", "n5", "n6"})  # thing, animal, cat, vehicle, car, dog
    found = map_by_place([0.65, 0.8, 0.3, 0.6, None, 0.9], tree)  # without a positive or a negative: not scored
    assert found == pytest.approx({"leaves": 0.6, "direct parents": 0.7, "higher": 0.65})


def history(start: float) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for epoch in (1, 2, 3):
        records.append({"epoch": epoch, "elapsed_s": 10.0, "waited_s": 0.5, "images_per_s": 500.0, "loss": 1 / epoch})
        if epoch != 2:
            said = {"mean_average_precision": start + epoch / 10, "micro_average_precision": 0.5}
            records[-1]["validation"] = {"report": said | {"single_label": {"top_1": 0.4}}}
    return records


def test_a_curve_has_the_epochs_that_were_evaluated(tmp_path: Path) -> None:
    assert curve(history(0.5), 0) == ([1, 3], [0.6, 0.8])
    draw({"closed": history(0.5), "open": history(0.4)}, tmp_path / "curves.png")
    content = (tmp_path / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG") and struct.unpack(">II", content[16:24]) == (1350, 435)
    draw({"closed": history(0.5), "open": history(0.4)}, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == content


def test_the_report_says_which_goals_were_missed() -> None:
    one = {"macro_map": 0.981, "micro_map": 0.99, "top_1": 0.91, "calibration_error": 0.01, "classes": 5, "scored": 4}
    one |= {"images": 100, "map_of": {"leaves": 0.9, "direct parents": 0.95, "higher": 0.99}}
    evaluations: dict[str, Any] = {closure: dict.fromkeys(VIEWS, one) for closure in CLOSURES}
    seconds = {f"train-{closure}": 1740.0 for closure in CLOSURES}
    found = Found(["seed=1"], 2, 400, seconds, {closure: history(0.5) for closure in CLOSURES}, evaluations)
    goals = goals_of(evaluations["closed_max"], 1740.0)
    assert [goal.met for goal in goals] == [True, False, True]
    text = to_markdown(found, goals, {"processor": "slow"}, "curves.png", "2026-11-23")
    assert "| leaf top-1 at least 0.93 | 0.9100 (1 view), 0.9100 (10 views) | NO |" in text
    assert "cifar10_smoke.yaml with seed=1" in text
    assert "| as_released | 10 | 0.9810 | 0.9000 | 0.9500 | 0.9900 | 0.9900 | 0.9100 | 0.0100 |" in text
    assert "| closed_max | 3 | 29.0 | 500 | 5.0% | 0.3333 |" in text
    found = replace(
        found, histories={"closed_max": history(0.5)}, evaluations={"closed_max": evaluations["closed_max"]}
    )
    text = to_markdown(found, goals, {}, "curves.png", "2026-11-23")
    assert "| closed_max | 10 |" in text and "| as_released |" not in text
