"""The comparison of two engines' outputs finds every difference, and only differences."""

import runpy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

duckdb = pytest.importorskip("duckdb")

COMPARE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "compare.py"))
Different = COMPARE["Different"]

ROWS = [("a", [1, 2], [1.0, 0.5]), ("b", [3], [0.8]), ("c", [], []), ("b2", [3], [0.8])]
LABELS = pa.schema([("key", pa.string()), ("classes", pa.list_(pa.int32())), ("confidences", pa.list_(pa.float32()))])
PAIRS = pa.schema([("class_a", pa.int32()), ("class_b", pa.int32()), ("count", pa.int64())])


def write(folder: Path, rows: list[tuple[Any, ...]], schema: pa.Schema, files: int = 1) -> str:
    folder.mkdir()
    columns = list(zip(*rows, strict=True))
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
    for number in range(files):
        size = -(-len(rows) // files)
        pq.write_table(table.slice(number * size, size), folder / f"part-{number}.parquet")
    return str(folder)


def test_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", ROWS, LABELS, files=2)
    COMPARE["compare_labels"](ours, write(tmp_path / "theirs", ROWS[::-1], LABELS))


@pytest.mark.parametrize(
    "changed",
    [
        [("A", *ROWS[0][1:]), *ROWS[1:]],
        [("a", [1, 4], [1.0, 0.5]), *ROWS[1:]],
        [("a", [1, 2], [1.0, 0.50001]), *ROWS[1:]],
        [("a", [2, 1], [0.5, 1.0]), *ROWS[1:]],
        [("a", [1], [1.0]), *ROWS[1:]],
        ROWS[1:],
        [*ROWS, ROWS[0]],
        [ROWS[0], ROWS[1], ROWS[1], ROWS[3]],
    ],
    ids=[
        "key",
        "class",
        "confidence",
        "order of labels",
        "label missing",
        "row missing",
        "row twice",
        "row for another",
    ],
)
def test_any_difference_in_labels_is_found_and_named(changed: list[tuple[Any, ...]], tmp_path: Path) -> None:
    ours, theirs = write(tmp_path / "ours", ROWS, LABELS), write(tmp_path / "theirs", changed, LABELS)
    with pytest.raises(Different, match="only in"):
        COMPARE["compare_labels"](ours, theirs)


def test_another_type_is_a_difference(tmp_path: Path) -> None:
    wide = LABELS.set(1, pa.field("classes", pa.list_(pa.int64())))
    ours, theirs = write(tmp_path / "ours", ROWS, LABELS), write(tmp_path / "theirs", ROWS, wide)
    with pytest.raises(Different, match=r"classes is BIGINT\[\], not INTEGER\[\]"):
        COMPARE["compare_labels"](ours, theirs)


@pytest.mark.parametrize("changed", [[(0, 0, 3), (0, 1, 3)], [(0, 0, 3)], [(0, 0, 3), (0, 1, 2), (1, 1, 1)]])
def test_any_difference_in_pairs_is_found(changed: list[tuple[int, int, int]], tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", [(0, 0, 3), (0, 1, 2)], PAIRS)
    COMPARE["compare_pairs"](ours, ours)
    with pytest.raises(Different, match="only in"):
        COMPARE["compare_pairs"](ours, write(tmp_path / "theirs", changed, PAIRS))
