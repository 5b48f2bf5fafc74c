import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.shards import Piece, plan_shards
from ml_images.storage.manifest import FilePromise


def promises(rows: dict[str, int], row_bytes: int = 100) -> dict[str, FilePromise]:
    return {f"split={name}.parquet": FilePromise(n, 1, n * row_bytes, "") for name, n in rows.items()}


@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.lists(st.integers(0, 40), max_size=3),
    st.integers(50, 5000),
    st.integers(0, 50),
)
def test_every_row_is_in_one_shard_and_shards_are_even(
    train: list[int], val: list[int], shard_bytes: int, more: int
) -> None:
    files = {f"train/part-{i}": n for i, n in enumerate(train)} | {f"val/part-9{i}": n for i, n in enumerate(val)}
    shards = plan_shards(promises(files), shard_bytes, more)
    rows = [(piece.file, row) for shard in shards for piece in shard.pieces for row in range(piece.start, piece.end)]
    assert rows == [(f"split={name}.parquet", row) for name in sorted(files) for row in range(files[name])]
    for split, total in (("train", sum(train)), ("val", sum(val))):
        mine = [shard for shard in shards if shard.split == split]
        assert [shard.number for shard in mine] == list(range(len(mine)))
        assert max((s.rows for s in mine), default=0) - min((s.rows for s in mine), default=0) <= 1
        assert all(shard.rows for shard in mine)
        if mine and 1 < len(mine) < total:
            assert len(mine) == round(total * (100 + more) / shard_bytes)


def test_a_shard_may_go_over_two_files() -> None:
    shards = plan_shards(promises({"train/a": 3, "train/b": 5}), 400, 0)
    pieces = [shard.pieces for shard in shards]
    assert pieces == [
        (Piece("split=train/a.parquet", 0, 3), Piece("split=train/b.parquet", 0, 1)),
        (Piece("split=train/b.parquet", 1, 5),),
    ]
    assert plan_shards({}, 400, 0) == []


@pytest.mark.parametrize("rows", [1, 7])
def test_small_splits_are_one_shard(rows: int) -> None:
    assert [shard.rows for shard in plan_shards(promises({"test/a": rows}), 1 << 20, 0)] == [rows]
