from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.train.dataset import read_split
from ml_images.train.replication import copies_of_groups, rounded, rows_of_groups, sure_rows

Make = Callable[..., Path]


def test_factors_are_rounded_up_as_often_as_they_say() -> None:
    factors = np.array([1.0, 2.3, 0.5, 7.75] * 500, np.float32)
    hashes = np.random.default_rng(0).integers(0, 2**64, 2000, np.uint64)
    copies = np.stack([rounded(factors, hashes, 3, epoch) for epoch in range(200)])
    assert set(np.unique(copies[:, 1::4])) == {2, 3} and set(np.unique(copies[:, 0::4])) == {1}
    for kind, factor in enumerate((1.0, 2.3, 0.5, 7.75)):
        assert copies[:, kind::4].mean() == pytest.approx(factor, abs=0.01)
    assert np.abs(copies.mean(axis=0) - factors).max() < 0.2  # for each row, over epochs


def test_a_row_is_rounded_by_its_key_whatever_lies_beside_it() -> None:
    factors, hashes = np.full(100, 1.5, np.float32), np.arange(100, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    whole = rounded(factors, hashes, 1, 2)
    assert np.array_equal(whole[40:], rounded(factors[40:], hashes[40:], 1, 2))
    assert not np.array_equal(whole, rounded(factors, hashes, 1, 3))
    assert not np.array_equal(whole, rounded(factors, hashes, 2, 2))


def test_the_factors_of_a_data_set_are_those_of_its_rows(make_dataset: Make) -> None:
    split = read_split(str(make_dataset(train=(5, 7, 6), factors=[1.0, 2.0, 3.5])), "train")
    assert sure_rows(split) == 6 * (1 + 2 + 3)  # fewer than 5 standard deviations below the mean of 39
    copies = copies_of_groups(split, 0, 0)
    assert [len(group) for group in copies] == [5, 7, 6]
    flat = np.concatenate(copies)
    assert (flat[0::3] == 1).all() and (flat[1::3] == 2).all() and set(flat[2::3]) == {3, 4}


def test_places_of_a_row_group_lie_between_those_that_are_told(make_dataset: Make) -> None:
    split = read_split(str(make_dataset(train=(5, 7, 6), factors=[0.5, 2.0, 3.5])), "train")
    least, most = rows_of_groups(split)
    assert (least.tolist(), most.tolist()) == ([7, 13, 10], [10, 18, 14])
    for epoch in range(20):
        places = np.array([part.sum() for part in copies_of_groups(split, 0, epoch)])
        assert (least <= places).all() and (places <= most).all()


def test_a_data_set_without_replication_is_not_read_for_it(make_dataset: Make) -> None:
    split = read_split(str(make_dataset(train=(5, 7))), "train")
    assert sure_rows(split) == 12
    assert [rows.tolist() for rows in rows_of_groups(split)] == [[5, 7]] * 2


def test_a_damaged_column_is_named(make_dataset: Make) -> None:
    root = make_dataset(train=(5, 7), factors=[1.0, 2.0])
    part = root / "split=train" / "part-00000.parquet"
    whole = pq.read_metadata(part).row_group(0)
    (chunk,) = (whole.column(n) for n in range(whole.num_columns) if whole.column(n).path_in_schema == "replication")
    data = bytearray(part.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + 8] = b"\xff" * 8
    part.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"split=train/part-00000\.parquet cannot be read: "):
        sure_rows(read_split(str(root), "train"))


def test_a_factor_that_is_no_number_is_refused(make_dataset: Make) -> None:
    split = read_split(str(make_dataset(train=(5, 7), factors=[float("nan")])), "train")
    with pytest.raises(InputError, match="replication that is no number"):
        sure_rows(split)


def test_every_epoch_has_the_rows_that_are_promised_and_not_many_more(make_dataset: Make) -> None:
    split = read_split(str(make_dataset(train=(300, 300), files=1, factors=[1.3, 2.5, 1.0])), "train")
    totals = [sum(int(part.sum()) for part in copies_of_groups(split, 0, epoch)) for epoch in range(50)]
    assert len(set(totals)) > 10
    assert 960 - 0.75 * 200 <= sure_rows(split) <= min(totals)
    assert sure_rows(split) > max(totals) - 2 * 5 * (200 * (0.21 + 0.25)) ** 0.5
