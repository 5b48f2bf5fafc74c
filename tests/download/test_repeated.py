from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from ml_images.download.repeated import as_placeholders
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
    rows = pa.Table.from_pylist([row("a"), row("b"), row("c")], schema=IMAGES)
    found = as_placeholders(rows, ["c", "a"])
    assert found.schema.equals(IMAGES)
    assert found["outcome"].to_pylist() == ["placeholder", "ok", "placeholder"]
    assert found["data"].to_pylist() == [None, b"jpeg", None]
    assert found["detail"].to_pylist() == [
        "the same bytes came from many different URLs",
        None,
        "the same bytes came from many different URLs",
    ]
    untouched = [name for name in IMAGES.names if name not in ("outcome", "data", "detail")]
    assert found.select(untouched).equals(rows.select(untouched))


def test_no_keys_no_change() -> None:
    rows = pa.Table.from_pylist([row("a")], schema=IMAGES)
    assert as_placeholders(rows, []).equals(rows)
