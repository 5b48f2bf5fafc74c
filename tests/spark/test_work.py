import gc
import sys
from itertools import groupby
from pathlib import Path
from typing import Any
from zipimport import zipimporter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from ml_images.errors import InputError, StorageError
from ml_images.spark import work

FROM_SPARK = (Py4JJavaError, PySparkException)  # with its story
UNIT = pa.schema([pa.field("number", pa.int64()), pa.field("name", pa.string())])


@given(runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=8), cut=st.integers(1, 5))
def test_grouped_joins_what_batches_cut_and_loses_nothing(runs: list[tuple[int, int]], cut: int) -> None:
    values = [value for value, length in runs for _ in range(length)]
    table = pa.table({"unit": pa.array(values, pa.int64()), "row": list(range(len(values)))})
    found = [(unit, rows["row"].to_pylist()) for unit, rows in work.grouped(table.to_batches(cut), "unit")]
    rows = iter(range(len(values)))
    assert found == [(unit, [next(rows) for _ in same]) for unit, same in groupby(values)]


@pytest.mark.parametrize(("num_units", "at_once"), [(0, 1), (1, 1), (7, 1), (7, 3), (40, 1), (40, 4)])
def test_every_unit_is_done_once_and_its_row_comes_home(num_units: int, at_once: int, spark: Any) -> None:
    rows = [{"number": number, "name": f"unit {number}"} for number in range(num_units)]

    def double(batches: Any) -> Any:
        for batch in batches:
            for row in batch.to_pylist():
                yield pa.RecordBatch.from_pylist([{**row, "number": row["number"] * 2}], schema=UNIT)

    units = work.units(spark, rows, UNIT, at_once=at_once)
    assert len(units.shares) == {(7, 3): 4, (40, 4): 13}.get((num_units, at_once), num_units)  # on 2 cores
    found = work.run(units, double, UNIT, "test")
    assert [row["number"] for row in found] == [2 * number for number in range(num_units)]
    assert {row["name"] for row in found} == {row["name"] for row in rows}


@given(num_units=st.integers(0, 300), cores=st.integers(1, 9), at_once=st.integers(1, 20))
def test_tasks_get_smaller_so_that_cores_end_within_two_units_even_with_a_slow_one(
    num_units: int, cores: int, at_once: int
) -> None:
    sizes = work.task_sizes(num_units, cores, at_once)
    assert sum(sizes) == num_units
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 <= size <= at_once for size in sizes)
    unit_s = [1.4, *[1.0] * (cores - 1)]  # a slow core and others
    busy_s = [0.0] * cores
    for size in sizes:  # the core that is free first takes the next task
        core = busy_s.index(min(busy_s))
        busy_s[core] += size * unit_s[core]
    assert max(busy_s) - min(busy_s) <= 2


def test_a_worker_that_has_run_units_starts_its_next_task_without_looking_at_all_modules_again(spark: Any) -> None:
    def look(batches: Any) -> Any:
        zips = [place for place, finder in sys.path_importer_cache.items() if isinstance(finder, zipimporter)]
        for batch in batches:
            told = {"number": gc.get_freeze_count(), "name": " ".join(zips)}
            yield pa.RecordBatch.from_pylist([told] * batch.num_rows, schema=UNIT)

    def frozen_and_zips() -> list[tuple[int, str]]:
        rows = [{"number": number, "name": ""} for number in range(8)]
        return [(row["number"], row["name"]) for row in work.run(work.units(spark, rows, UNIT), look, UNIT, "look")]

    frozen_and_zips()
    for frozen, zips in frozen_and_zips()[4:]:
        assert frozen > 10_000
        assert "pyspark.zip/pyspark/" not in zips


def test_a_full_disk_on_a_worker_is_a_storage_error_of_one_line(spark: Any) -> None:
    def fail(batches: Any) -> Any:
        raise StorageError("cannot write 'x': no space left on the device")
        yield

    with pytest.raises(StorageError, match=r"^cannot write 'x': no space left on the device$"):
        work.run(work.units(spark, [{"number": 1, "name": "a"}], UNIT), fail, UNIT, "test")


def test_an_unexpected_error_of_a_worker_keeps_its_story(spark: Any) -> None:
    def fail(batches: Any) -> Any:
        raise ZeroDivisionError("told by the worker")
        yield

    with pytest.raises(Exception, match="told by the worker") as caught:
        work.run(work.units(spark, [{"number": 1, "name": "a"}], UNIT), fail, UNIT, "test")
    assert not isinstance(caught.value, StorageError)


def test_only_damaged_files_are_called_damaged(spark: Any, tmp_path: Path) -> None:
    part = tmp_path / "a part.parquet"
    pq.write_table(pa.table({"number": [1, 2]}), part)
    other_types = spark.read.schema("number string").parquet(str(part))
    with pytest.raises(FROM_SPARK, match="number"):
        work.collect(other_types, "read")
    gone = spark.read.parquet(str(part))
    cut = part.read_bytes()[:-20]
    part.unlink()
    with pytest.raises(FROM_SPARK, match="a%20part"):
        work.collect(gone, "read")
    part.write_bytes(cut)
    damaged = spark.read.schema("number bigint").parquet(str(part))
    with pytest.raises(InputError, match=r"^'/.*/a part\.parquet' cannot be read to its end: it is damaged or cut$"):
        work.collect(damaged, "read")
