from dataclasses import replace
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.crawl import Fetched
from ml_images.download.rows import to_batch
from ml_images.images.resize import Shrunk
from ml_images.schemas import IMAGES

WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
PICTURE = Shrunk(b"jpeg", 40, 30, 400, 300, -7)
OK = Fetched(
    "a", "ok", "", "http://a.example/1", "http://b.example/1", 200, 2, 31, "image/png", b"s" * 32, 9, WHEN, PICTURE
)
GONE = Fetched("b", "dns_error", "no such host", "http://c.example/", None, None, 1, 5, None, None, None, WHEN, None)


def test_a_picture_fills_all_columns() -> None:
    (row,) = to_batch([OK]).to_pylist()
    assert row == {
        "key": "a",
        "outcome": "ok",
        "url": "http://a.example/1",
        "final_url": "http://b.example/1",
        "status": 200,
        "attempts": 2,
        "elapsed_ms": 31,
        "content_type": "image/png",
        "sha256": b"s" * 32,
        "phash": -7,
        "width": 40,
        "height": 30,
        "original_width": 400,
        "original_height": 300,
        "original_bytes": 9,
        "fetched_at": WHEN,
        "data": b"jpeg",
        "detail": None,
    }


def test_rows_keep_their_order_and_the_tables_types() -> None:
    batch = to_batch([GONE, OK, GONE])
    assert batch.schema.equals(IMAGES)
    assert batch.column("key").to_pylist() == ["b", "a", "b"]
    assert batch.column("detail").to_pylist() == ["no such host", None, "no such host"]
    assert batch.column("data").to_pylist() == [None, b"jpeg", None]


@given(st.lists(st.none() | st.binary(max_size=20)))
def test_pictures_come_back_byte_for_byte(pictures: list[bytes | None]) -> None:
    fetched = [GONE if data is None else replace(OK, picture=replace(PICTURE, data=data)) for data in pictures]
    column = to_batch(fetched).column("data")
    column.validate(full=True)
    assert column.to_pylist() == pictures and column.null_count == pictures.count(None)


def test_nothing_fetched_is_an_empty_batch() -> None:
    assert to_batch([]).num_rows == 0 and to_batch([]).schema.equals(IMAGES)
