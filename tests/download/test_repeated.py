import re
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from ml_images.download.repeated import FOUND_WITH, Repeated, as_placeholders, detail_of
from ml_images.schemas import IMAGES


def row(key: str) -> dict[str, Any]:
    known = {"key": key, "outcome": "ok", "url": f"http://h/{key}", "sha256": b"d" * 32, "data": b"jpeg", "width": 4}
    return {
        **dict.fromkeys(IMAGES.names),
        **known,
        "attempts": 1,
        "elapsed_ms": 2,
        "fetched_at": datetime.now(timezone.utc),
    }


def test_named_keys_lose_their_picture_and_keep_what_tells_about_them() -> None:
    told = "http://g/a ended as server_error"
    rows = pa.Table.from_pylist([row("a") | {"detail": told}, row("b"), row("c")], schema=IMAGES)
    found = as_placeholders(rows, ["c", "a"], 10)
    assert found.schema.equals(IMAGES)
    assert found["outcome"].to_pylist() == ["placeholder", "ok", "placeholder"]
    assert found["data"].to_pylist() == [None, b"jpeg", None]
    assert found["detail"].to_pylist() == [
        f"{detail_of(10)}; {told}",
        None,
        detail_of(10),
    ]
    untouched = [name for name in IMAGES.names if name not in ("outcome", "data", "detail")]
    assert found.select(untouched).equals(rows.select(untouched))


def test_no_keys_no_change() -> None:
    rows = pa.Table.from_pylist([row("a")], schema=IMAGES)
    assert as_placeholders(rows, [], 10).equals(rows)


def test_a_row_says_how_many_urls_were_enough() -> None:
    assert re.findall(FOUND_WITH, f"status 404; http://h/a ended as placeholder ({detail_of(12)})") == ["12"]


def test_what_many_urls_gave_holds_for_smaller_numbers_only() -> None:
    found = Repeated(10, frozenset([b"a"]))
    assert [found.that_hold(number).digests for number in (0, 2, 10, 11)] == [set(), {b"a"}, {b"a"}, set()]
    assert [found.may_have_more(number) for number in (0, 2, 10, 11)] == [False, True, False, False]
    never = Repeated(0, frozenset())
    assert never.may_have_more(10) and not never.may_have_more(0)
