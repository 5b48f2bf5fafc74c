from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.train.footers import KEPT, Footers


@pytest.fixture
def footer(tmp_path: Path) -> pq.FileMetaData:
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "a.parquet")
    return pq.read_metadata(tmp_path / "a.parquet")


def test_a_footer_is_there_again_and_others_are_not(footer: pq.FileMetaData) -> None:
    footers = Footers()
    footers.keep("a", footer)
    assert footers.get("a") is footer
    assert footers.get("b") is None


def test_only_the_footers_kept_last_stay(footer: pq.FileMetaData) -> None:
    footers = Footers()
    for number in range(KEPT + 1):
        footers.keep("first", footer)  # each time it is the latest
        footers.keep(f"{number}", footer)
    assert [name for name in ["first", *map(str, range(KEPT + 1))] if footers.get(name)] == [
        "first",
        *map(str, range(2, KEPT + 1)),
    ]
