import hashlib
import io
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from ml_images.download import rows
from ml_images.download.config import DownloadConfig, FetchConfig
from ml_images.download.rows import fetch_batches
from ml_images.images.config import ImageConfig
from ml_images.outcomes import BY_NAME
from ml_images.schemas import IMAGES


def config(base_url: str = "", threads: int = 8, **fetch: Any) -> DownloadConfig:
    quick = {"allow_private": True, "backoff_s": 0.01, "read_timeout_s": 0.5, "deadline_s": 2.0}
    return DownloadConfig(FetchConfig(**quick | fetch), ImageConfig(short_side=64), threads, base_url)


def fetch_batch(keys: list[str], cfg: DownloadConfig) -> pa.RecordBatch:
    [batch] = fetch_batches([keys], cfg)
    return batch


def one(key: str, cfg: DownloadConfig) -> dict[str, Any]:
    [row] = fetch_batch([key], cfg).to_pylist()
    return row


def test_a_good_row_holds_everything(server, jpeg: bytes) -> None:
    url = server.on("/x.jpg", lambda h: h.reply(200, jpeg, Content_Type="image/jpeg"))
    before = datetime.now(timezone.utc)
    row = one(url, config())
    assert before <= row.pop("fetched_at") <= datetime.now(timezone.utc)
    assert 0 <= row.pop("elapsed_ms") < 2000
    with Image.open(io.BytesIO(row.pop("data"))) as image:
        assert (image.format, image.size) == ("JPEG", (96, 64))
    assert isinstance(row.pop("phash"), int)
    assert row == {
        "key": url, "outcome": "ok", "url": url, "final_url": url, "status": 200, "attempts": 1,
        "content_type": "image/jpeg", "sha256": hashlib.sha256(jpeg).digest(), "width": 96, "height": 64,
        "original_width": 120, "original_height": 80, "original_bytes": len(jpeg),
    }  # fmt: skip


def test_keys_that_lead_nowhere_cost_no_attempt() -> None:
    batch = fetch_batch(["n01/x.JPEG", "ftp://a.example/x", "http:///x"], config()).to_pylist()
    assert [row["outcome"] for row in batch] == ["no_url", "bad_url", "bad_url"]
    assert {row["attempts"] for row in batch} == {0}
    assert [row["url"] for row in batch] == [None, "ftp://a.example/x", "http:///x"]


def test_a_key_is_found_below_the_base_url(server, jpeg: bytes) -> None:
    server.on("/photos/n01/a%20b.JPEG", lambda h: h.reply(200, jpeg))
    row = one("n01/a b.JPEG", config(f"{server.url}/photos"))
    assert (row["outcome"], row["key"], row["url"]) == ("ok", "n01/a b.JPEG", f"{server.url}/photos/n01/a%20b.JPEG")


def test_bytes_that_are_no_picture_leave_their_digest(server) -> None:
    html = b"<html>the photo is gone</html>"
    row = one(server.on("/x.jpg", lambda h: h.reply(200, html, Content_Type="image/jpeg")), config())
    assert (row["outcome"], row["content_type"]) == ("not_an_image", "image/jpeg")
    assert (row["sha256"], row["original_bytes"]) == (hashlib.sha256(html).digest(), len(html))
    assert row["data"] is None and row["phash"] is None and row["width"] is None


def test_what_deserves_it_is_tried_again(server, jpeg: bytes) -> None:
    def later(status: int):
        return lambda h: h.reply(200, jpeg) if h.visit > 1 else h.reply(status, Retry_After="0")

    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"
    keys = [
        server.on("/429", later(429)),
        server.on("/500", later(500)),
        server.on("/cut", lambda h: h.reply(200, jpeg) if h.visit > 1 else h.raw(cut)),
        server.on("/dead", lambda h: h.reply(200, jpeg) if h.visit > 2 else h.raw(b"")),
        server.on("/503", lambda h: h.reply(503)),
        server.on("/404", lambda h: h.reply(404)),
    ]
    found = [(row["outcome"], row["attempts"]) for row in fetch_batch(keys, config()).to_pylist()]
    assert found == [("ok", 2), ("ok", 2), ("ok", 2), ("ok", 3), ("server_error", 3), ("not_found", 1)]
    assert [server.seen[path] for path in ("/503", "/404")] == [3, 1]


def test_retry_after_is_waited_for(server, jpeg: bytes) -> None:
    url = server.on("/x", lambda h: h.reply(200, jpeg) if h.visit > 1 else h.reply(429, Retry_After="1"))
    row = one(url, config(deadline_s=5.0))
    assert (row["outcome"], row["attempts"]) == ("ok", 2)
    assert row["elapsed_ms"] >= 1000


def test_a_retry_after_beyond_the_deadline_ends_at_once(server) -> None:
    row = one(server.on("/x", lambda h: h.reply(429, Retry_After="3600")), config())
    assert (row["outcome"], row["attempts"]) == ("rate_limited", 1)
    assert row["elapsed_ms"] < 1000


def test_the_deadline_counts_for_all_attempts_together(server) -> None:
    url = server.on("/x", lambda h: h.drip(bytes(1000)))
    row = one(url, config(deadline_s=0.6, read_timeout_s=0.25))
    assert row["outcome"] == "timeout"
    assert row["elapsed_ms"] < 900


def test_rows_keep_the_order_of_the_keys_and_the_schema(server, jpeg: bytes) -> None:
    def slow(h: Any) -> None:
        time.sleep(0.1)
        h.reply(200, jpeg)

    keys = [server.on(f"/{n}", slow if n % 5 == 0 else (lambda h: h.reply(200, jpeg))) for n in range(25)]
    batch = fetch_batch(keys, config())
    assert isinstance(batch, pa.RecordBatch) and batch.schema.equals(IMAGES)
    assert batch.column("key").to_pylist() == keys
    assert set(batch.column("outcome").to_pylist()) == {"ok"}


def test_no_keys_no_rows() -> None:
    assert fetch_batch([], config()).num_rows == 0


def test_the_same_bytes_give_the_same_rows(server, jpeg: bytes) -> None:
    url = server.on("/x", lambda h: h.reply(200, jpeg))
    first, second = (one(url, config()) for _ in range(2))
    assert [first[name] for name in ("sha256", "phash", "data")] == [
        second[name] for name in ("sha256", "phash", "data")
    ]


def test_threads_and_connections_live_across_batches_and_end_with_them(server, jpeg: bytes) -> None:
    keys = [server.on(f"/{n}", lambda h: h.reply(200, jpeg)) for n in range(6)]
    before = threading.active_count()
    batches = list(fetch_batches([keys[:3], [], keys[3:]], config(threads=1)))
    assert [batch.num_rows for batch in batches] == [3, 0, 3]
    assert server.num_connections == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download")]
    assert threading.active_count() <= before + 1  # the server's own thread of that one connection


def test_batches_are_fetched_one_at_a_time_as_they_are_asked_for(server, jpeg: bytes) -> None:
    keys = [server.on(f"/{n}", lambda h: h.reply(200, jpeg)) for n in range(3)]
    batches = fetch_batches(([key] for key in keys), config())
    next(batches)
    assert sum(server.seen.values()) == 1
    batches.close()
    assert sum(server.seen.values()) == 1


def test_the_unexpected_stops_the_task(server, jpeg: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes, cfg: ImageConfig) -> None:
        raise AttributeError("our own bug")

    monkeypatch.setattr(rows, "judge", broken)
    with pytest.raises(AttributeError, match="our own bug"):
        fetch_batch([server.on("/x", lambda h: h.reply(200, jpeg))], config())


def test_one_slow_url_does_not_hold_the_others(server, jpeg: bytes) -> None:
    keys = [server.on("/slow", lambda h: h.drip(bytes(1000)))]
    keys += [server.on(f"/{n}", lambda h: h.reply(200, jpeg)) for n in range(20)]
    start = time.monotonic()
    outcomes = fetch_batch(keys, config(deadline_s=1.0, threads=2)).column("outcome").to_pylist()
    assert outcomes == ["timeout"] + ["ok"] * 20
    assert time.monotonic() - start < 1.6


@pytest.mark.real_data
def test_every_odd_file_over_http_is_one_named_row(server, shared_data: Path) -> None:
    files = sorted((shared_data / "bad-images").glob("*/*"))
    for number, file in enumerate(files):
        server.on(f"/{number}", lambda h, file=file: h.reply(200, file.read_bytes(), Content_Type="image/jpeg"))
    keys = [str(number) for number in range(len(files))]
    batch = fetch_batch(keys, config(server.url, deadline_s=30.0))
    assert batch.column("key").to_pylist() == keys
    for row, file in zip(batch.to_pylist(), files, strict=True):
        assert row["outcome"] in BY_NAME and row["attempts"] == 1
        assert row["sha256"] == hashlib.sha256(file.read_bytes()).digest()
        assert (row["data"] is not None) == (row["outcome"] == "ok")
