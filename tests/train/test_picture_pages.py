"""Pictures out of the pages of a file, against pyarrow; what is no such column is refused."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.storage.label_parquet.pages import DamagedPart
from ml_images.train.buffer_pool import BufferPool
from ml_images.train.picture_pages import are_plain, read_pictures

_AS_WRITTEN = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def file_of(pictures: list[bytes], nullable: bool = False, **options: object) -> bytes:
    schema = pa.schema([pa.field("image", pa.binary(), nullable=nullable)])
    out = io.BytesIO()
    pq.write_table(pa.table({"image": pictures}, schema), out, **(_AS_WRITTEN | options))
    return out.getvalue()


def read(data: bytes) -> list[bytes]:
    opened = pq.ParquetFile(io.BytesIO(data))
    chunk = opened.metadata.row_group(0).column(0)
    assert are_plain(opened.schema_arrow.field("image"), chunk)
    return [bytes(picture) for picture in read_pictures(pa.BufferReader(data), chunk, BufferPool(100))]


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=40), st.integers(1, 5))
def test_pictures_are_those_of_the_file_however_many_pages_it_has(pictures: list[bytes], at_once: int) -> None:
    assert read(file_of(pictures, write_batch_size=at_once, data_page_size=100)) == pictures


@pytest.mark.parametrize(
    "options",
    [{"compression": "zstd"}, {"use_dictionary": True}, {"write_statistics": True}, {"nullable": True}],
    ids=str,
)
def test_other_columns_are_left_to_pyarrow(options: dict[str, object]) -> None:
    opened = pq.ParquetFile(io.BytesIO(file_of([b"a", b"b"], **options)))
    assert not are_plain(opened.schema_arrow.field("image"), opened.metadata.row_group(0).column(0))


def test_no_damaged_byte_crashes_the_reader() -> None:
    pictures = [b"first", b"", b"the third one"]
    data = file_of(pictures)
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    start, refused = chunk.data_page_offset, 0
    for at in range(start, start + chunk.total_compressed_size):
        for value in (0, 0xFF, data[at] ^ 1):
            damaged = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                found = read_pictures(pa.BufferReader(damaged), chunk, BufferPool(100))
            except DamagedPart:
                refused += 1
            else:
                assert len(found) == 3
    assert refused > 20


def test_a_length_that_leads_beyond_its_page_is_refused() -> None:
    data = file_of([b"first", b"second"])
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    at = data.index(b"second") - 4
    for length in (5, 7, 1 << 31):
        damaged = data[:at] + length.to_bytes(4, "little") + data[at + 4 :]
        with pytest.raises(DamagedPart, match="values end at byte"):
            read_pictures(pa.BufferReader(damaged), chunk, BufferPool(100))
