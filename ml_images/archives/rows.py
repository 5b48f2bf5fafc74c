"""Members of archives to rows of the table `images`, by the same ladder as downloads: magic bytes, known placeholders,
decoding in a process of its own. Rows come in the order of their members, so that an attempt repeats its parts."""

import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, Protocol

from ml_images.archives.config import ExtractConfig
from ml_images.archives.read import Member
from ml_images.download.placeholder import is_placeholder
from ml_images.images.hashing import sha256
from ml_images.images.resize import Shrunk
from ml_images.images.sniff import sniff
from ml_images.schemas import IMAGES

Row = dict[str, Any]

_OF_PICTURE = ("data", "width", "height", "original_width", "original_height", "phash")
_MAX_WAITING = 256  # rows; the bytes of their pictures are bounded by buffer_bytes


class Decoder(Protocol):
    """What is asked of images/shrinker.py: results are Shrunk, or have an outcome and a detail."""

    @property
    def bytes_pending(self) -> int: ...
    def submit(self, token: int, data: bytes, rotation: int = 0) -> None: ...
    def collect(self) -> list[tuple[int, Any]]: ...
    def fileno(self) -> int: ...


def decode_members(members: Iterable[Member], decoder: Decoder, cfg: ExtractConfig) -> Iterator[Row]:
    """A row for each member, in their order, by the columns of schemas.IMAGES; the decoder works meanwhile."""
    rows: deque[Row] = deque()
    begun: dict[int, tuple[Row, float]] = {}  # by token: what the decoder has
    for token, member in enumerate(members):
        row = begin_row(member)
        rows.append(row)
        if row["outcome"] is None:
            assert member.data is not None
            begun[token] = row, time.monotonic()
            decoder.submit(token, member.data)
        _collect(decoder, begun)
        while begun and (decoder.bytes_pending > cfg.buffer_bytes or len(rows) > _MAX_WAITING):
            _wait(decoder, begun)
        while rows and rows[0]["outcome"] is not None:
            yield rows.popleft()
    while begun:
        _wait(decoder, begun)
    yield from rows


def begin_row(member: Member) -> Row:
    """The row as far as it is known without decoding; `outcome` is None where that has to tell."""
    row: Row = dict.fromkeys(IMAGES.names)
    row |= {"key": member.key, "attempts": 1, "elapsed_ms": 0, "fetched_at": datetime.now(timezone.utc)}
    row["detail"] = f"{member.member}: {member.detail}" if member.detail else member.member
    if member.data is None:
        row["outcome"] = member.outcome
        return row
    row |= {"sha256": sha256(member.data), "original_bytes": len(member.data)}
    if not member.data:
        row["outcome"] = "empty"
    elif is_placeholder(member.data):
        row["outcome"] = "placeholder"
    elif sniff(member.data) is None:
        row["outcome"] = "not_an_image"
    return row


def _wait(decoder: Decoder, begun: dict[int, tuple[Row, float]]) -> None:
    waiting = select.poll()
    waiting.register(decoder.fileno(), select.POLLIN)
    waiting.poll()
    _collect(decoder, begun)


def _collect(decoder: Decoder, begun: dict[int, tuple[Row, float]]) -> None:
    for token, result in decoder.collect():
        row, since = begun.pop(token)
        row["elapsed_ms"] = round((time.monotonic() - since) * 1000)
        if isinstance(result, Shrunk):
            row |= {"outcome": "ok", **{name: getattr(result, name) for name in _OF_PICTURE}}
        else:
            row |= {"outcome": result.outcome, "detail": f"{row['detail']}: {result.detail}"}
