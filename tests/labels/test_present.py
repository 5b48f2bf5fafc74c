from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.present import check_above, read_lists

COLUMNS = pa.schema([schemas.LABELS.field("classes"), schemas.LABELS.field("confidences")])


def write(path: Path, rows: list[dict[int, float]], **options: Any) -> str:
    columns = [[list(row) for row in rows], [list(row.values()) for row in rows]]
    pq.write_table(pa.table(columns, schema=COLUMNS), path, **options)
    return str(path)


def read(part: str, above: float = 0.0) -> list[bool]:
    """Were the confidences read? For each batch."""
    return [len(lists.confidences) > 0 for lists in read_lists(part, above)]


def test_confidences_are_read_only_where_the_footer_leaves_a_doubt(tmp_path: Path) -> None:
    rows = [{0: 0.8, 4: 1.0}, {2: 1.0}, {1: 0.0}, {3: -1.0}]
    part = write(tmp_path / "a.parquet", rows, row_group_size=1)
    assert read(part) == [False, False, True, True]
    assert read(part, 0.9) == [True, False, True, True]


def test_a_threshold_is_compared_as_the_float_that_is_stored(tmp_path: Path) -> None:
    # float32(0.8) is a bit above the double 0.8: such a label is not above 0.8, and its row group cannot be skipped.
    part = write(tmp_path / "a.parquet", [{0: 0.8}])
    assert read(part, 0.8) == [True]


def test_without_statistics_all_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.parquet", [{0: 1.0}], write_statistics=False)) == [True]


def test_all_rows_come_in_their_order(tmp_path: Path) -> None:
    part = write(tmp_path / "a.parquet", [{}, {1: 1.0, 3: 0.5}, {}, {2: 1.0}], row_group_size=3)
    lists = list(read_lists(part, 0.0))
    assert [piece.offsets.tolist() for piece in lists] == [[0, 0, 2, 2], [0, 1]]
    assert [piece.classes.tolist() for piece in lists] == [[1, 3], [2]]


def test_nulls_and_lists_of_unequal_length_are_refused(tmp_path: Path) -> None:
    for name, classes, confidences, says in (
        ("a", [[1, None]], [[0.0, 0.0]], "classes has nulls"),
        ("b", [[1, 2], [3]], [[0.0], [0.0, 0.0]], "differ in length"),
    ):
        pq.write_table(
            pa.table({"classes": classes, "confidences": confidences}).cast(
                pa.schema([("classes", pa.list_(pa.int32())), ("confidences", pa.list_(pa.float32()))])
            ),
            tmp_path / name,
        )
        with pytest.raises(InputError, match=says):
            list(read_lists(str(tmp_path / name), 0.0))


@pytest.mark.parametrize("above", [-0.1, 1.0, float("nan")])
def test_a_threshold_is_a_confidence_that_something_can_be_above(above: float) -> None:
    with pytest.raises(ValueError, match="above is a confidence"):
        check_above(above)
