import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_images.spark.dataset_layout import LayoutConfig, SplitLayout, lay_out, uneven

sizes_of_pictures = st.lists(st.integers(1, 100_000), max_size=400).map(lambda sizes: np.array(sizes, np.int64))
configs = st.builds(
    LayoutConfig,
    ranks=st.integers(1, 40),
    row_group_bytes=st.integers(1, 2_000_000),
    row_group_rows=st.integers(1, 100),
    file_rows=st.integers(1, 500),
)
of_enough_rows = st.builds(
    LayoutConfig, ranks=st.integers(1, 20), row_group_bytes=st.integers(1, 2_000_000), row_group_rows=st.just(400)
)


def bytes_of_groups(sizes: np.ndarray, layout: SplitLayout) -> np.ndarray:
    return np.diff(np.concatenate([[0], np.cumsum(sizes)])[layout.bounds])


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_have_64_bits(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"layout\.seed must be in 0\.\.2\^64-1, got {seed}"):
        LayoutConfig(seed=seed)
    assert LayoutConfig(seed=2**64 - 1).seed == 2**64 - 1


@given(sizes_of_pictures, configs)
def test_row_groups_cover_the_rows_in_a_multiple_of_the_ranks_and_none_is_empty(
    sizes: np.ndarray, cfg: LayoutConfig
) -> None:
    layout = lay_out(sizes, cfg)
    rows = np.diff(layout.bounds)
    assert (layout.bounds[0], layout.rows, layout.row_groups) == (0, len(sizes), len(rows))
    assert (rows >= 1).all()
    if len(sizes) <= cfg.ranks:
        assert layout.row_groups == len(sizes)
    else:
        assert layout.row_groups % cfg.ranks == 0
        most = len(sizes) // cfg.ranks * cfg.ranks
        assert rows.max() <= cfg.row_group_rows or layout.row_groups == most
        assert sizes.sum() / layout.row_groups <= cfg.row_group_bytes or layout.row_groups == most


@given(sizes_of_pictures.map(lambda sizes: np.append(sizes, [500] * 21)), of_enough_rows)
@example(np.array([1, 1, 1, 1, 1_000_000, 1, 1, 1, 1]), LayoutConfig(ranks=4, row_group_rows=100))
@example(np.array([1_000_000, *[1] * 50]), LayoutConfig(ranks=8, row_group_rows=100))
@example(np.array([*[1] * 50, 1_000_000]), LayoutConfig(ranks=8, row_group_rows=100))
def test_bytes_of_row_groups_differ_by_the_largest_picture_at_most_where_rows_do_not_limit_them(
    sizes: np.ndarray, cfg: LayoutConfig
) -> None:
    layout = lay_out(sizes, cfg)
    mean = sizes.sum() / layout.row_groups
    assert np.abs(bytes_of_groups(sizes, layout) - mean).max() <= sizes.max() + 1e-6 * mean


@pytest.mark.parametrize(("limit_bytes", "limit_rows"), [(8 << 20, 1000), (8 << 20, 256), (1 << 30, 100)])
def test_real_sizes_give_equal_bytes_whichever_limit_counts(limit_bytes: int, limit_rows: int) -> None:
    sizes = np.random.default_rng(0).lognormal(10.3, 0.5, 100_000).astype(np.int64)  # 33 KB, as of short side 256
    layout = lay_out(sizes, LayoutConfig(ranks=32, row_group_bytes=limit_bytes, row_group_rows=limit_rows))
    found = bytes_of_groups(sizes, layout)
    assert np.diff(layout.bounds).max() <= limit_rows
    assert found.max() <= limit_bytes + sizes.max()
    assert found.max() - found.min() <= 2 * sizes.max()
    assert layout.row_groups % 32 == 0
    # As few as the limits allow, but for what differing sizes ask for.
    assert layout.row_groups <= 1.35 * max(sizes.sum() / limit_bytes, len(sizes) / limit_rows) + 32


@given(sizes_of_pictures.filter(len), configs, st.integers(1, 200))
def test_row_groups_that_come_make_those_there_a_multiple_of_the_ranks_or_are_as_few_as_can_be(
    sizes: np.ndarray, cfg: LayoutConfig, existing: int
) -> None:
    layout = lay_out(sizes, cfg, existing)
    rows = np.diff(layout.bounds)
    assert (layout.bounds[0], layout.rows, layout.row_groups) == (0, len(sizes), len(rows))
    assert (rows >= 1).all()
    possible = [groups for groups in range(1, len(sizes) + 1) if (existing + groups) % cfg.ranks == 0]
    if possible:
        assert layout.row_groups in possible
        most = possible[-1]
    else:
        most = len(sizes)
        if len(sizes) <= cfg.row_group_rows and sizes.sum() <= cfg.row_group_bytes:
            assert layout.row_groups == 1
    assert rows.max() <= cfg.row_group_rows or layout.row_groups == most
    assert sizes.sum() / layout.row_groups <= cfg.row_group_bytes or layout.row_groups == most


def test_what_is_appended_to_row_groups_known_answer() -> None:
    ten, cfg = np.full(10, 7), LayoutConfig(ranks=4, row_group_rows=100)
    assert [lay_out(ten, cfg, existing).row_groups for existing in (0, 8, 9, 10, 11)] == [4, 4, 3, 2, 1]
    assert [lay_out(ten[:3], cfg, existing).row_groups for existing in (0, 8, 9)] == [3, 1, 3]
    told = {"train": {"rows": 1, "row_groups": 12}, "val": {"rows": 1, "row_groups": 9}}
    assert [line.partition(",")[0] for line in uneven(told, 4)] == ["split val has 9 row groups now"]


@given(sizes_of_pictures, configs)
def test_files_hold_whole_row_groups_in_their_order(sizes: np.ndarray, cfg: LayoutConfig) -> None:
    layout = lay_out(sizes, cfg)
    first = layout.first_rows().tolist()
    assert len(first) == layout.files
    again = [start + bound for file, start in enumerate(first) for bound in layout.groups_of(file)[1:].tolist()]
    assert [0, *again] == layout.bounds.tolist()


def test_known_answer() -> None:
    sizes = np.array([10, 10, 10, 10, 40, 5, 5, 5, 5, 20])
    assert lay_out(sizes, LayoutConfig(ranks=3, row_group_rows=100)).bounds.tolist() == [0, 4, 5, 10]
    assert lay_out(sizes, LayoutConfig(ranks=2, row_group_rows=100)).bounds.tolist() == [0, 4, 10]
    assert lay_out(sizes[:3], LayoutConfig(ranks=8)).bounds.tolist() == [0, 1, 2, 3]
    assert lay_out(sizes[:0], LayoutConfig(ranks=8)).files == 0


@pytest.mark.parametrize("name", ["ranks", "row_group_bytes", "row_group_rows", "file_rows"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"layout\.{name} must be at least 1, got 0"):
        LayoutConfig(**{name: 0})


def test_row_groups_that_arrow_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"layout\.row_group_bytes is 1073741824 at most"):
        LayoutConfig(row_group_bytes=1 << 31)
