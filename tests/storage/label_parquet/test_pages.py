import pyarrow as pa
import pytest

from ml_images.storage.label_parquet.chunks import INT32, PLAIN, RLE_DICTIONARY, Chunk
from ml_images.storage.label_parquet.pages import DATA_PAGE, DICTIONARY_PAGE, DamagedPart, read_pages, varint
from ml_images.storage.label_parquet.thrift import binary, boolean, i32, struct
from ml_images.storage.label_parquet.thrift import varint as written

ZSTD = pa.Codec("zstd")


def chunk() -> bytes:
    made = Chunk(("classes",), INT32, ZSTD)
    made.add_dictionary(b"\1\0\0\0" * 200, 200)
    made.add_page([b"rep", b"definition"], b"values", 17, 2, RLE_DICTIONARY)
    made.add_page([], b"x", 1, 0, PLAIN)
    return b"".join(bytes(piece) for piece in made.pieces)


def test_pages_come_back_as_they_were_added() -> None:
    read = [
        (page.kind, page.values, page.encoding, bytes(page.content)) for page in read_pages(memoryview(chunk()), ZSTD)
    ]
    assert read == [
        (DICTIONARY_PAGE, 200, PLAIN, b"\1\0\0\0" * 200),
        (DATA_PAGE, 17, RLE_DICTIONARY, b"\3\0\0\0rep\n\0\0\0definitionvalues"),
        (DATA_PAGE, 1, PLAIN, b"x"),
    ]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 40])
def test_a_number_comes_back_and_the_place_behind_it(number: int) -> None:
    assert varint(b"?" + written(number) + b"!", 1) == (number, 1 + len(written(number)))


@pytest.mark.parametrize(
    "header",
    [
        {1: i32(3), 2: i32(1), 3: i32(1), 8: struct({1: i32(1)})},  # a data page of version 2
        {1: i32(0), 2: i32(1), 3: i32(9), 5: struct({1: i32(1), 2: i32(0)})},  # longer than the chunk
        {1: i32(0), 2: i32(1), 3: i32(1)},
        {1: i32(0), 2: i32(1), 3: i32(1), 5: i32(1)},
        {1: binary(b"0")},
        {1: boolean(True)},
    ],
)
def test_other_pages_are_refused(header: dict) -> None:
    with pytest.raises(DamagedPart):
        list(read_pages(memoryview(struct(header).payload + b"12345678"), ZSTD))


def test_a_chunk_that_ends_too_early_is_refused() -> None:
    whole = chunk()
    with pytest.raises((DamagedPart, OSError)):
        list(read_pages(memoryview(whole)[:-1], ZSTD))
