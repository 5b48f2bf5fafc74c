from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.spark.dataset_files import FilePlan, RunReader
from ml_images.spark.dataset_layout import LayoutConfig, lay_out
from ml_images.spark.picture_runs import run_file

RUNS = 70  # more than are kept open


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("runs"))
    for run in range(RUNS):
        Path(run_file(folder, run)).write_bytes(b"".join(picture(run, number) for number in range(20)))
    return folder


def picture(run: int, number: int) -> bytes:
    return bytes([run, number]) * (number + 1)


@given(st.lists(st.tuples(st.integers(0, RUNS - 1), st.integers(0, 19)), min_size=1, unique=True, max_size=150))
def test_pictures_come_in_the_order_asked_for(scratch: str, wanted: list[tuple[int, int]]) -> None:
    runs = np.array([run for run, _ in wanted])
    offsets = np.array([number * (number + 1) for _, number in wanted])
    sizes = np.array([2 * (number + 1) for _, number in wanted])
    with RunReader(scratch) as reader:
        assert reader.read(runs, offsets, sizes).to_pylist() == [picture(*place) for place in wanted]
        assert len(reader._open) <= 64


def test_neighbours_are_read_at_once(scratch: str) -> None:
    numbers = np.array([3, 2, 5, 4, 9])
    with RunReader(scratch) as reader:
        reads = []
        read = reader._read
        reader._read = lambda *place: reads.append(place) or read(*place)
        found = reader.read(np.full(5, 7), numbers * (numbers + 1), 2 * (numbers + 1))
    assert found.to_pylist() == [picture(7, number) for number in numbers.tolist()]
    assert reads == [(7, 6, 36), (7, 90, 20)]  # pictures 2 to 5 from byte 6 on, and 9


def test_files_belong_to_the_split_in_whose_range_they_are() -> None:
    layouts = {name: lay_out(np.full(rows, 9), LayoutConfig(ranks=2, file_rows=4)) for name, rows in SIZES.items()}
    plan = FilePlan(layouts, {"train": 10, "val": 10 + layouts["train"].files}, {})
    assert [plan.split_of(10 + file) for file in range(plan.files)] == ["train"] * layouts["train"].files + [
        "val"
    ] * layouts["val"].files
    assert plan.rows == 50


SIZES = {"train": 40, "val": 10}
