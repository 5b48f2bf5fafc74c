"""From keys to rows of the `images` table: exactly one row for every key, in their order, whatever happens.

Expected failures are outcomes; anything else raises and stops the task. Held in memory at a time: a body and a decoded
picture for each thread (worst case `fetch.max_bytes` and 3 bytes for each of `image.max_pixels`; a photo of 10
megapixels takes 3 MB and, decoded at a quarter of its size, 2 MB) and the finished rows of one batch, some 60 KB each.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from random import Random
from typing import Any

import pyarrow as pa

from ml_images.download.config import DownloadConfig
from ml_images.download.connection import Network
from ml_images.download.fetch import Answer, fetch_once
from ml_images.download.retry import next_wait
from ml_images.download.session import Session, open_session
from ml_images.download.url import is_web_url, url_of
from ml_images.download.verdict import Verdict, judge
from ml_images.images.decode import silence_pillow
from ml_images.images.hashing import sha256
from ml_images.schemas import IMAGES

Row = dict[str, Any]


def fetch_image(key: str, session: Session, cfg: DownloadConfig) -> Row:
    """The row of one key, by the columns of schemas.IMAGES."""
    fetched_at, start = datetime.now(timezone.utc), time.monotonic()
    url = url_of(key, cfg.base_url)
    row: Row = dict.fromkeys(IMAGES.names)
    row |= {"key": key, "url": url, "attempts": 0, "fetched_at": fetched_at}
    if url is None:
        row["outcome"] = "no_url"
    elif not is_web_url(url):
        row["outcome"] = "bad_url"
    else:
        answer, attempts = _fetch(url, session, cfg, start)
        row |= {"attempts": attempts, **_columns_of(answer, cfg)}
    row["elapsed_ms"] = round((time.monotonic() - start) * 1000)
    return row


def fetch_batches(
    batches: Iterable[Sequence[str]], cfg: DownloadConfig, network: Network | None = None
) -> Iterator[pa.RecordBatch]:
    """A record batch of schemas.IMAGES for each batch of keys. Threads and connections live across batches, and end
    with the iterator."""
    silence_pillow()
    mine = threading.local()
    sessions: list[Session] = []

    def open_mine() -> None:
        mine.session = open_session(cfg.fetch, network)
        sessions.append(mine.session)

    try:
        with ThreadPoolExecutor(cfg.threads, "download", initializer=open_mine) as pool:
            for keys in batches:
                rows = list(pool.map(lambda key: fetch_image(key, mine.session, cfg), keys))
                yield pa.RecordBatch.from_pylist(rows, schema=IMAGES)
    finally:
        for session in sessions:
            session.close()


def _fetch(url: str, session: Session, cfg: DownloadConfig, start: float) -> tuple[Answer, int]:
    deadline, rng = start + cfg.fetch.deadline_s, Random(url)
    attempt = 0
    while True:
        attempt += 1
        answer = fetch_once(url, session, cfg.fetch, deadline)
        left = deadline - time.monotonic()
        wait = next_wait(answer.outcome, attempt, answer.retry_after_s, left, cfg.fetch, rng)
        if wait is None:
            return answer, attempt
        time.sleep(wait)


def _columns_of(answer: Answer, cfg: DownloadConfig) -> Row:
    columns: Row = {"final_url": answer.final_url, "status": answer.status, "content_type": answer.content_type}
    if answer.body is None:
        return columns | {"outcome": answer.outcome}
    verdict: Verdict = judge(answer.body, cfg.image)
    columns |= {"outcome": verdict.outcome, "sha256": sha256(answer.body), "original_bytes": len(answer.body)}
    picture = verdict.picture
    if picture is not None:
        for name in ("phash", "width", "height", "original_width", "original_height", "data"):
            columns[name] = getattr(picture, name)
    return columns
