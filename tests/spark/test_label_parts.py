from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.spark import label_parts
from ml_images.spark.label_parts import Closing, LabelParts

# 0 > 1..50 > one class each: "no 0" implies 100 absences.
PARENTS = ((), *[(0,)] * 50, *[(c,) for c in range(1, 51)])


Rows = list[dict[str, object]]


def written(folder: Path, rows: list[dict[int, float]], denied: tuple[int, ...] = ()) -> tuple[Rows, Rows, LabelParts]:
    """The tables labels and conflicts of some rows, and who wrote them; denied: labels that are also called absent."""
    closing = Closing(find_ancestors(PARENTS), "closed_max", "unknown")
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    classes = np.array([c for row in rows for c in row], np.int32)
    confidences = np.array([confidence for row in rows for confidence in row.values()], np.float32)
    absent = (confidences == 0).astype(np.int8)
    absent[list(denied)] = 1
    keys, sets = (
        pa.array([f"k{number}" for number in range(len(rows))], pa.string()),
        np.arange(len(rows), dtype=np.int32),
    )
    with LabelParts(str(folder), 0, closing) as parts:
        sources = pa.array([f"{number % 2}.txt" for number in range(len(rows))])
        parts.add(keys, sources, sets, offsets, classes, confidences, absent)
    tables = [pq.read_table(folder / table / "_staging" / "part-000000.parquet") for table in ("labels", "conflicts")]
    return tables[0].to_pylist(), tables[1].to_pylist(), parts


@pytest.mark.parametrize("at_once", [1, 150, 1000])
def test_rows_with_absences_are_closed_a_few_at_a_time_and_nothing_changes(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{0: 0.0}, {51: 1.0}, {}, {1: 0.0, 51: 0.5}, {0: 0.0, 3: 0.25}, {0: -1.0}] * 5
    whole = written(tmp_path / "whole", rows)
    most = []
    close = label_parts.close_with_negatives

    def counted(*given):
        closed, conflicts = close(*given)
        most.append(len(closed.classes))
        return closed, conflicts

    monkeypatch.setattr(label_parts, "LABELS_AT_ONCE", at_once)
    monkeypatch.setattr(label_parts, "close_with_negatives", counted)
    pieces = written(tmp_path / "pieces", rows)
    assert pieces[:2] == whole[:2]
    assert len(whole[1]) == 10
    assert (pieces[2].rows, pieces[2].labels_closed, pieces[2].conflicts) == (30, whole[2].labels_closed, 10)
    assert max(most) <= at_once + 103  # one row more than there is room for
    assert len(most) > 1


def test_a_label_that_its_row_also_denies_is_a_conflict_of_that_row(tmp_path: Path) -> None:
    rows = [{51: 1.0}, {0: 0.0, 2: 0.5, 51: 0.75}, {52: -1.0}, {53: 0.5}]
    labels, conflicts, _ = written(tmp_path, rows, denied=(3, 4, 5))
    of_one_class = [(row["key"], row["positive"]) for row in conflicts if row["positive"] == row["negative"]]
    assert of_one_class == [("k1", 51), ("k3", 53)]
    assert [row["classes"] for row in labels] == [[0, 1, 51], [0, 1, 2, 51], [52], [0, 3, 53]]


def test_a_block_without_rows_writes_none(tmp_path: Path) -> None:
    labels, conflicts, parts = written(tmp_path, [])
    assert (labels, conflicts, parts.rows) == ([], [], 0)
