import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.spark.materialize import LayoutConfig, lay_out


@given(rows=st.integers(0, 50_000), ranks=st.integers(1, 64), group=st.integers(1, 500), file=st.integers(1, 5000))
def test_row_groups_cover_the_rows_evenly_in_a_multiple_of_the_ranks(
    rows: int, ranks: int, group: int, file: int
) -> None:
    layout = lay_out(rows, LayoutConfig(ranks=ranks, row_group_rows=group, file_rows=file))
    bounds = layout.bounds()
    sizes = np.diff(bounds)
    assert (bounds[0], bounds[-1]) == (0, rows)
    assert layout.groups_per_file >= 1
    if rows >= ranks:
        assert layout.row_groups % ranks == 0 or layout.row_groups == rows
        assert sizes.max() - sizes.min() <= 1
        assert sizes.min() >= 1
        assert sizes.max() <= group


@given(rows=st.integers(1, 2000), ranks=st.integers(1, 16), group=st.integers(1, 50))
def test_the_formula_for_the_group_of_a_row_agrees_with_the_bounds(rows: int, ranks: int, group: int) -> None:
    """The formula runs in Spark (see _number), the bounds in the writer."""
    layout = lay_out(rows, LayoutConfig(ranks=ranks, row_group_rows=group))
    row = np.arange(rows)
    by_formula = ((row + 1) * layout.row_groups - 1) // layout.rows
    assert (by_formula == np.searchsorted(layout.bounds(), row, side="right") - 1).all()


@pytest.mark.parametrize("name", ["ranks", "row_group_rows", "file_rows"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"layout\.{name} must be at least 1, got 0"):
        LayoutConfig(**{name: 0})
