import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ml_images
from ml_images import schemas
from ml_images.errors import StorageError
from ml_images.labels.present import read_lists
from ml_images.storage.label_parquet import columns
from ml_images.storage.label_parquet.writer import LabelWriter, open_label_part

Labels = list[tuple[int, float, int]]
Row = tuple[str, str, Labels]

CONFIDENCES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]) | st.floats(0, 1, width=32)
LABELS = st.dictionaries(st.integers(0, 40) | st.integers(0, 70_000), st.tuples(CONFIDENCES, st.integers(0, 4)))
LISTS = LABELS.map(lambda labels: [(c, *labels[c]) for c in sorted(labels)])
ROWS = st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["a.txt", "b/ü.txt", ""]), LISTS), max_size=20)

EXAMPLE: list[Row] = [
    ("https://x/ä.jpg", "b.txt", [(3, 1.0, 0), (7, 0.25, 1), (11_165, 0.25, 2)]),
    ("", "a.txt", []),
    ("k", "b.txt", [(7, -1.0, 4)]),
]
ONE_VALUE: list[Row] = [("k", "a.txt", [(5, 1.0, 0)]), ("l", "a.txt", [(5, 1.0, 0)])]
MANY: list[Row] = [(f"k{i}", "a.txt", [(c, (c * i % 9973) / 9973, c % 3) for c in range(i % 13)]) for i in range(2000)]
NO_LABELS: list[Row] = [("k", "a.txt", []), ("l", "b.txt", [])]
CASES = {"example": EXAMPLE, "one value": ONE_VALUE, "many": MANY, "no labels": NO_LABELS}


def arrays(rows: list[Row]) -> tuple[Any, ...]:
    flat = [label for _, _, labels in rows for label in labels]
    return (
        pa.array([key for key, _, _ in rows], pa.string()),
        pa.array([source for _, source, _ in rows], pa.string()),
        np.cumsum([0, *(len(labels) for _, _, labels in rows)]),
        np.array([c for c, _, _ in flat], np.int32),
        np.array([confidence for _, confidence, _ in flat], np.float32),
        np.array([origin for _, _, origin in flat], np.int8),
    )


def to_label_batch(keys, sources, offsets, classes, confidences, origins) -> pa.RecordBatch:
    """The rows as pyarrow has them."""
    starts = pa.array(offsets, pa.int32())
    lists = ((classes, pa.int32()), (confidences, pa.float32()), (origins, pa.int8()))
    columns = [pa.ListArray.from_arrays(starts, pa.array(values, kind)) for values, kind in lists]
    return pa.RecordBatch.from_arrays([keys, sources, *columns], schema=schemas.LABELS)


def table(*groups: list[Row]) -> pa.Table:
    return pa.Table.from_batches([to_label_batch(*arrays(rows)) for rows in groups], schema=schemas.LABELS)


def write(place: Path, *groups: list[Row]) -> str:
    with open_label_part(str(place)) as writer:
        for rows in groups:
            writer.write_rows(*arrays(rows))
    return str(place)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "PAGE_LEVELS", 100)
    monkeypatch.setattr(columns, "PAGE_BYTES", 100)


@given(st.lists(ROWS, max_size=4), st.sampled_from([1, 7, 1000]))
def test_whatever_is_written_is_read(groups: list[list[Row]], page: int) -> None:
    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, pa.PythonFile(stream, "w") as file:
        patch.setattr(columns, "PAGE_LEVELS", page)
        patch.setattr(columns, "PAGE_BYTES", page)
        writer = LabelWriter(file)
        for rows in groups:
            writer.write_rows(*arrays(rows))
        writer.finish()
        read = pq.ParquetFile(io.BytesIO(stream.getvalue()))
    expected = table(*groups)
    assert read.metadata.num_row_groups == sum(bool(rows) for rows in groups)
    assert read.read().equals(expected)
    bits = [t["confidences"].combine_chunks().flatten().to_numpy().view(np.uint32) for t in (read.read(), expected)]
    assert np.array_equal(*bits)  # -0.0 is not 0.0


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_the_schema_and_the_counts_are_those_of_pyarrow(tmp_path: Path, rows: list[Row]) -> None:
    pq.write_table(table(rows), tmp_path / "theirs.parquet", compression="zstd")
    ours = pq.ParquetFile(write(tmp_path / "ours.parquet", rows))
    theirs = pq.ParquetFile(tmp_path / "theirs.parquet")
    assert ours.schema_arrow.equals(schemas.LABELS)
    assert ours.schema_arrow.equals(theirs.schema_arrow, check_metadata=True)
    assert ours.metadata.metadata == theirs.metadata.metadata
    assert ours.schema.equals(theirs.schema) and str(ours.schema).split("\n")[1:] == str(theirs.schema).split("\n")[1:]
    assert ours.metadata.format_version == theirs.metadata.format_version
    assert ours.metadata.created_by == f"ml-images version {ml_images.__version__} (build 0)"
    for number in range(len(columns.COLUMNS)):
        mine, other = (file.metadata.row_group(0).column(number) for file in (ours, theirs))
        for name in ("path_in_schema", "physical_type", "num_values", "compression"):
            assert getattr(mine, name) == getattr(other, name)
        assert mine.statistics.null_count == other.statistics.null_count
        assert mine.statistics.num_values == other.statistics.num_values
        if number:  # keys have no bounds
            assert mine.statistics.has_min_max == other.statistics.has_min_max
            assert (mine.statistics.min, mine.statistics.max) == (other.statistics.min, other.statistics.max)


def test_a_chunk_is_as_long_as_its_metadata_says(tmp_path: Path, small_pages: None) -> None:
    place = write(tmp_path / "part.parquet", MANY, EXAMPLE)
    metadata, content, end = pq.read_metadata(place), Path(place).read_bytes(), 4
    for group in range(2):
        for number in range(len(columns.COLUMNS)):
            column = metadata.row_group(group).column(number)
            first = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
            assert first == end
            assert content[first:][:2].hex() == ("1504" if column.has_dictionary_page else "1500")  # the kind of page
            assert content[column.data_page_offset :][:2].hex() == "1500"
            end += column.total_compressed_size
    assert end == len(content) - metadata.serialized_size - 8


@pytest.mark.parametrize(("confidences", "expected"), [([0.0, 1.0], (True, False)), ([-1.0, -0.0], (False, True))])
def test_a_bound_of_zero_holds_for_both_zeros(
    tmp_path: Path, confidences: list[float], expected: tuple[bool, bool]
) -> None:
    place = write(tmp_path / "part.parquet", [("k", "s", [(c, p, 0) for c, p in enumerate(confidences)])])
    statistics = pq.read_metadata(place).row_group(0).column(3).statistics
    least, greatest = np.float32(statistics.min), np.float32(statistics.max)
    assert (least == 0, greatest == 0) == expected
    assert np.signbit(least) and not (greatest == 0 and np.signbit(greatest))


def test_confidences_that_are_all_present_are_not_read(tmp_path: Path) -> None:
    (lists,) = read_lists(write(tmp_path / "part.parquet", ONE_VALUE), 0.5)
    assert lists.classes.tolist() == [5, 5] and len(lists.confidences) == 0
    (lists,) = read_lists(write(tmp_path / "part.parquet", EXAMPLE), 0.5)
    assert len(lists.confidences) == 4


def test_one_source_stands_for_all_rows_and_keys_may_be_a_slice(tmp_path: Path) -> None:
    keys, _, *labels = arrays(MANY)
    place = str(tmp_path / "part.parquet")
    with open_label_part(place) as writer:
        writer.write_rows(pa.concat_arrays([pa.array(["x"]), keys, keys])[1 : 1 + len(keys)], "a.txt", *labels)
    assert pq.read_table(place).equals(table(MANY))


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_rows_may_share_their_labels(tmp_path: Path, small_pages: None, rows: list[Row]) -> None:
    """Also lists that no row has."""
    _, _, *labels = arrays(rows)
    sets = np.random.default_rng(1).integers(0, len(rows), 3 * len(rows)).astype(np.int32)
    written = [(f"k{number}", "a.txt", rows[number][2]) for number in sets]
    place = str(tmp_path / "part.parquet")
    with open_label_part(place) as writer:
        writer.write_rows(arrays(written)[0], "a.txt", *labels, sets)
    assert pq.read_table(place).equals(table(written))


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_batches_of_some_columns_cross_pages(tmp_path: Path, small_pages: None, rows: list[Row]) -> None:
    file = pq.ParquetFile(write(tmp_path / "part.parquet", rows, rows))
    for names in (["classes"], ["key", "origins"], ["confidences"]):
        batches = list(file.iter_batches(77, columns=names, use_threads=False))
        assert pa.Table.from_batches(batches).equals(table(rows, rows).select(names))


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_duckdb_reads_the_same(tmp_path: Path, small_pages: None, rows: list[Row]) -> None:
    duckdb = pytest.importorskip("duckdb")
    place = write(tmp_path / "part.parquet", rows, rows)
    read = duckdb.sql(f"select * from read_parquet('{place}')").fetchall()
    assert read == [tuple(row.values()) for row in table(rows, rows).to_pylist()]
    least = duckdb.sql(f"select count(*) from read_parquet('{place}') where source < 'b'").fetchall()
    assert least == [(pc.sum(pc.less(table(rows, rows)["source"], "b")).as_py(),)]


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_polars_reads_the_same(tmp_path: Path, small_pages: None, rows: list[Row]) -> None:
    polars = pytest.importorskip("polars")
    place = write(tmp_path / "part.parquet", rows, rows)
    assert polars.read_parquet(place).rows() == [tuple(row.values()) for row in table(rows, rows).to_pylist()]


@pytest.mark.parametrize("vectorized", ["true", "false"])
def test_spark_reads_the_same(tmp_path: Path, small_pages: None, spark: Any, vectorized: str) -> None:
    for number, rows in enumerate(CASES.values()):
        write(tmp_path / "labels" / f"part-{number}.parquet", rows, rows)
    write(tmp_path / "labels" / "part-none.parquet")
    options = {
        "spark.sql.parquet.enableVectorizedReader": vectorized,
        "spark.sql.parquet.enableNestedColumnVectorizedReader": vectorized,
    }
    before = {name: spark.conf.get(name) for name in options}
    try:
        for name, value in options.items():
            spark.conf.set(name, value)
        read = spark.read.parquet(str(tmp_path / "labels"))
        assert read.select("origins").dtypes == [("origins", "array<tinyint>")]
        rows = [tuple(row) for row in read.collect()]
        chosen = read.where("source = 'b.txt'").count()
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
    expected = [tuple(row.values()) for rows in CASES.values() for row in table(rows, rows).to_pylist()]
    assert sorted(rows) == sorted(expected)
    assert chosen == sum(source == "b.txt" for _, source, *_ in expected)


def test_a_part_without_rows_is_a_table_without_rows(tmp_path: Path) -> None:
    place = write(tmp_path / "part.parquet", [])
    assert pq.read_table(place).equals(schemas.LABELS.empty_table())
    assert pq.read_metadata(place).num_row_groups == 0


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_label_part(str(tmp_path / "new" / "part.parquet")) as writer:
        writer.write_rows(*arrays(EXAMPLE))
        raise KeyError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space left"), open_label_part(str(tmp_path / "part.parquet")):
        raise OSError(errno.ENOSPC, "full")
