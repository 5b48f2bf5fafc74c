import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from ml_images.archives.config import ExtractConfig
from ml_images.archives.read import Member
from ml_images.archives.rows import begin_row, decode_members
from ml_images.images.resize import Shrunk
from ml_images.images.shrinker import Refused
from ml_images.schemas import IMAGES

JPEG = b"\xff\xd8\xff"
PICTURE = Shrunk(b"small", 3, 4, 30, 40, -5)


class SlowDecoder:
    """Answers only when it is waited for, in any order that it is given, and refuses pictures that end in `bad`."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.most_bytes = 0
        self.read, self.write = os.pipe()
        os.write(self.write, b"x")
        self.asked = 0

    @property
    def bytes_pending(self) -> int:
        return sum(map(len, self.held.values()))

    def submit(self, token: int, data: bytes, rotation: int = 0) -> None:
        self.held[token] = data
        self.most_bytes = max(self.most_bytes, self.bytes_pending)

    def collect(self) -> list[tuple[int, Any]]:
        self.asked += 1
        if self.asked % 3 or not self.held:
            return []
        token, data = self.held.popitem()  # the last one first
        return [(token, Refused("undecodable", "why") if data.endswith(b"bad") else PICTURE)]

    def fileno(self) -> int:
        return self.read

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def decoder() -> Iterator[SlowDecoder]:
    slow = SlowDecoder()
    yield slow
    slow.close()


def test_rows_come_in_the_order_of_members_whatever_the_decoder_does(decoder: SlowDecoder) -> None:
    members = [Member(f"{number}", f"a.tar:{number}", JPEG + b"bad" * (number % 3 == 0)) for number in range(20)]
    members.insert(7, Member("link", "a.tar:link", None, "unsafe_member", "symbolic link"))
    rows = []
    for row in decode_members(members, decoder, ExtractConfig()):
        assert row["outcome"] is not None  # as soon as it is given away
        rows.append(row)
    assert [row["key"] for row in rows] == [member.key for member in members]
    expected = ["ok" if number % 3 else "undecodable" for number in range(20)]
    expected.insert(7, "unsafe_member")
    assert [row["outcome"] for row in rows] == expected
    assert pa.Table.from_pylist(rows, schema=IMAGES).num_rows == 21


def test_a_row_says_what_was_found(decoder: SlowDecoder) -> None:
    ok, bad = decode_members(
        [Member("a", "x.tar:a", JPEG), Member("b", "x.tar:b", JPEG + b"bad")], decoder, ExtractConfig()
    )
    assert ok | {"fetched_at": None, "elapsed_ms": 0} == {
        **dict.fromkeys(IMAGES.names),
        "key": "a",
        "outcome": "ok",
        "attempts": 1,
        "elapsed_ms": 0,
        "sha256": hashlib.sha256(JPEG).digest(),
        "original_bytes": 3,
        "data": b"small",
        "width": 3,
        "height": 4,
        "original_width": 30,
        "original_height": 40,
        "phash": -5,
        "detail": "x.tar:a",
    }
    assert (bad["outcome"], bad["detail"], bad["data"]) == ("undecodable", "x.tar:b: why", None)


def test_the_cheap_questions_come_before_the_decoder() -> None:
    outcomes = {data: begin_row(Member("a", "x:a", data))["outcome"] for data in (b"", b"<html>", JPEG)}
    assert outcomes == {b"": "empty", b"<html>": "not_an_image", JPEG: None}


def test_no_more_bytes_wait_than_were_allowed(decoder: SlowDecoder) -> None:
    members = (Member(f"{number}", "a", JPEG + bytes(97)) for number in range(50))
    assert len(list(decode_members(members, decoder, ExtractConfig(buffer_bytes=400)))) == 50
    assert decoder.most_bytes == 500
