import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.jobs import cooccur
from ml_images.labels import cooccurrence
from ml_images.storage import tables

# animal 0 > snake 1 > sea snake 2; water 3 > sea 4
VOCABULARY = b"n0\t-1\tanimal\nn1\t0\tsnake\nn2\t1\tsea snake\nn3\t-1\twater\nn4\t3\tsea\n"


def annotations(folder: Path, rows: dict[str, dict[int, float]]) -> str:
    """The tables that the job reads, the labels in two parts."""
    table = pa.table(
        [
            list(rows),
            ["list"] * len(rows),
            [list(row) for row in rows.values()],
            [list(row.values()) for row in rows.values()],
            [[0] * len(row) for row in rows.values()],
        ],
        schema=schemas.LABELS,
    )
    tables.write_table(f"{folder}/labels", "labels", table.slice(0, len(rows) // 2))
    tables.write_part(f"{folder}/labels/part-000001.parquet", table.slice(len(rows) // 2))
    tables.write_table(f"{folder}/vocabulary", "vocabulary", to_table(parse_vocabulary(VOCABULARY, "vocabulary")))
    return f"annotations={folder}"


def test_all_pairs_of_the_sample_are_counted(chain: Any, spark: object, tmp_path: Path) -> None:
    assert cooccur.main([f"annotations={chain.annotate}", f"output={tmp_path}/out", "min_count=3"]) == 0
    labels = pq.read_table(chain.annotate / "labels")
    wanted: Counter[tuple[int, int]] = Counter()
    for classes, confidences in zip(labels["classes"].to_pylist(), labels["confidences"].to_pylist(), strict=True):
        present = [c for c, confidence in zip(classes, confidences, strict=True) if confidence > 0]
        wanted.update((a, b) for a in present for b in present if a <= b)
    table = pq.read_table(tmp_path / "out" / "cooccurrence")
    assert table.schema.equals(schemas.COOCCURRENCE)
    assert [tuple(row.values()) for row in table.to_pylist()] == sorted((a, b, n) for (a, b), n in wanted.items())
    pairs = pq.read_table(tmp_path / "out" / "pairs")
    assert pairs.schema.equals(schemas.PAIRS)
    kept = {pair: n for pair, n in wanted.items() if pair[0] != pair[1] and n >= 3}
    assert {(row["class_a"], row["class_b"]): row["count"] for row in pairs.to_pylist()} == kept
    for row in pairs.to_pylist():
        a, b, n = row["class_a"], row["class_b"], row["count"]
        assert row["a_given_b"] == pytest.approx(n / wanted[b, b])
        assert row["b_given_a"] == pytest.approx(n / wanted[a, a])
        assert row["lift"] == pytest.approx(n * len(labels) / wanted[a, a] / wanted[b, b])
        assert row["pmi"] == pytest.approx(np.log2(row["lift"]), abs=1e-6)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"]["counted"]["label rows"] == len(labels)
    assert report["counts"]["counted"]["pairs of two classes"] == sum(a != b for a, b in wanted)
    assert not list((tmp_path / "out").rglob("_partials/*"))


def test_bands_and_ranges_do_not_change_the_counts(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a": {0: 1.0, 2: 0.9, 4: 0.5}, "b": {2: 1.0, 4: 0.8}, "c": {}, "d": {1: 1.0, 4: -1.0}, "e": {4: 0.9}}
    given = annotations(tmp_path / "in", rows)
    monkeypatch.setattr(cooccurrence, "BAND_CELLS", 5)
    monkeypatch.setattr("ml_images.spark.pair_sums.RANGE_CELLS", 4)
    assert len(cooccurrence.plan_bands(5)) == 3
    assert cooccur.main([given, f"output={tmp_path}/out", "above=0.8", "min_count=1"]) == 0
    table = pq.read_table(tmp_path / "out" / "cooccurrence")
    found = [tuple(row.values()) for row in table.to_pylist()]
    assert found == [(0, 0, 1), (0, 2, 1), (1, 1, 1), (2, 2, 2), (4, 4, 1)]  # 0.8 is not above 0.8


SEA = {"key": "", "classes": [4, 3], "scores": [0.96, float("nan")]}  # NaN is above nothing
SNAKE = {0: 1.0, 1: 1.0, 2: 1.0}


def predictions(folder: Path, rows: list[dict[str, Any]]) -> str:
    tables.write_table(f"{folder}", "predictions", pa.Table.from_pylist(rows, schema=schemas.PREDICTIONS))
    return f"predictions={folder}"


def test_strong_pairs_follow_the_rule_and_a_run_without_predictions_drops_them(spark: object, tmp_path: Path) -> None:
    rows = {name: dict(SNAKE) for name in "abcdef"} | {"x": {3: 1.0}, "y": {0: 1.0, 2: 0.0}, "z": {0: 1.0, 2: -1.0}}
    given = annotations(tmp_path / "in", rows)
    looked = [{**SEA, "key": key} for key in "abc"]
    looked += [  # at d the sea is on the threshold, at e something else is seen; f has no predictions
        {"key": "d", "classes": [4, 0], "scores": [0.95, 0.99]},
        {"key": "e", "classes": [0, 1, 2], "scores": [0.99, 0.99, 0.99]},
        {"key": "x", "classes": [0, 4], "scores": [0.99, 0.99]},
        {**SEA, "key": "y"},
        {"key": "z", "classes": [4], "scores": [0.8]},
        {**SEA, "key": "no label row"},
    ]
    argv = [given, predictions(tmp_path / "predictions", looked), f"output={tmp_path}/out"]
    assert cooccur.main(argv) == 0
    table = pq.read_table(tmp_path / "out" / "strong_pairs")
    assert table.schema.equals(schemas.STRONG_PAIRS)
    snakes = {"implied": 4, "count": 3, "images": 5, "share": 0.6}  # 4 of 7 animals: 4/7 > 0.5, too
    assert table.to_pylist() == [
        {"class": 0, "implied": 4, "count": 4, "images": 7, "share": 4 / 7},
        {"class": 1, **snakes},
        {"class": 2, **snakes},
        {"class": 3, "implied": 0, "count": 1, "images": 1, "share": 1.0},
    ]
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]
    assert counts["strong pairs"] == {
        "rows of predictions": 9,
        "label rows with predictions": 8,
        "label rows without": 1,
        "strong pairs": 4,
    }
    # The sea is on 4 of 5 snakes, not more than 0.8, and 5 of 7 animals: z is on the threshold, as float32.
    assert cooccur.main([*argv, "strong.score_above=0.8", "strong.share_above=0.8"]) == 0
    assert pq.read_table(tmp_path / "out" / "strong_pairs").column("class").to_pylist() == [3]
    assert cooccur.main([given, f"output={tmp_path}/out"]) == 0
    with pytest.raises(InputError, match="not finished"):
        tables.require(f"{tmp_path}/out/strong_pairs", "strong_pairs")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"key": "a", "classes": [5], "scores": [0.99]}, "predictions table: class 5 is unknown, expected 0 to 4"),
        ({"key": "b", "classes": [1], "scores": [0.99]}, "key 'b' has several rows"),
        ({"key": "a", "classes": [1, 2], "scores": [0.99]}, "key 'a' has not as many scores as classes"),
        ({"key": "q", "classes": [1], "scores": [0.99]}, "has no key of"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(row: dict[str, Any], says: str, spark: object, tmp_path: Path) -> None:
    looked = [row, {**SEA, "key": "b"}] if row["key"] != "q" else [row]
    argv = [annotations(tmp_path / "in", {"a": SNAKE, "b": SNAKE}), predictions(tmp_path / "predictions", looked)]
    with pytest.raises(InputError, match=says):
        cooccur.main([*argv, f"output={tmp_path}/out"])


@pytest.mark.parametrize("place", ["seen.parquet", "seen/part-0.parquet"])
def test_predictions_may_be_any_parquet_with_the_columns(place: str, spark: object, tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    rows = pa.table({"key": ["a", "b"], "classes": [[0, 4], [4]], "scores": [[0.5, 0.99], [0.99]], "more": [1, 2]})
    pq.write_table(rows, tmp_path / place)  # lists of int64 and of double
    given = annotations(tmp_path / "in", {"a": SNAKE, "b": SNAKE})
    assert cooccur.main([given, f"predictions={tmp_path / place.partition('/')[0]}", f"output={tmp_path}/out"]) == 0
    pq.write_table(rows.drop(["scores"]), tmp_path / place)
    with pytest.raises(InputError, match="key, lists of classes and of scores are expected"):
        cooccur.main([given, f"predictions={tmp_path / place.partition('/')[0]}", f"output={tmp_path}/out"])


def test_labels_of_another_vocabulary_are_refused(spark: object, tmp_path: Path) -> None:
    given = annotations(tmp_path / "in", {"a": {0: 1.0}, "b": {7: 1.0}})
    with pytest.raises(InputError, match="labels table: class 7 is unknown, expected 0 to 4"):
        cooccur.main([given, f"output={tmp_path}/out"])


def test_labels_without_rows_are_refused(spark: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        cooccur.main([annotations(tmp_path / "in", {}), f"output={tmp_path}/out"])


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("above=1", "above is a confidence"),
        ("min_count=0", "min_count must be"),
        ("strong.share_above=1", "is a share"),
        ("strong.share_above=0.6", "predictions= names none"),
    ],
)
def test_options_have_their_limits(option: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        cooccur.main(["annotations=a", "output=b", option])


def test_names_that_several_classes_have_are_told_with_the_class() -> None:
    assert cooccur._told_apart(["cat", "mushroom", "dog", "mushroom"]) == ["cat", "mushroom (1)", "dog", "mushroom (3)"]
