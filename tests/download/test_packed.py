import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.packed import unpacked
from ml_images.download.robots import MAX_BYTES
from ml_images.download.transport import Request, Response

CAP = 1_000_000


def deflate_without_header(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    return pa.compress(data, "brotli", asbytes=True)


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", deflate_without_header),
    ("br", brotli),
]


def answer(coding: str, body: bytes, is_robots_file: bool = False, max_bytes: int = CAP) -> Response:
    request = Request("http://h/", 0.0, lambda status, headers: None, is_robots_file=is_robots_file)
    return unpacked(Response(request, "ok", "", 200, {"content-encoding": coding}, body, 0.0), max_bytes)


@given(data=st.binary(max_size=3000), kind=st.sampled_from(CODINGS))
def test_what_was_packed_comes_back(data: bytes, kind: tuple[str, Callable[[bytes], bytes]]) -> None:
    coding, pack = kind
    assert (answer(coding, pack(data)).outcome, answer(coding, pack(data)).body) == ("ok", data)


def test_all_members_of_gzip_count_and_no_junk_behind_them() -> None:
    members = gzip.compress(b"one") + gzip.compress(b"two") + gzip.compress(b"")
    assert answer("gzip", members + b"junk").body == b"onetwo"
    assert answer("gzip", gzip.compress(bytes(CAP)) + gzip.compress(b"1")).outcome == "too_large"
    broken_off = answer("gzip", gzip.compress(b"one") + gzip.compress(b"two" * 1000)[:-12]).body
    assert broken_off.startswith(b"one") and len(broken_off) < 3003


@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_a_body_may_be_as_long_as_the_cap_and_no_longer(coding: str, pack: Callable[[bytes], bytes]) -> None:
    assert len(answer(coding, pack(bytes(CAP))).body) == CAP
    refused = answer(coding, pack(bytes(CAP + 1)))
    assert (refused.outcome, refused.detail, refused.body) == ("too_large", "more than 1000000 bytes", b"")
    bomb = answer(coding, pack(bytes(50 * CAP)))
    assert (bomb.outcome, bomb.body) == ("too_large", b"")


@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_a_robots_file_is_cut_instead(coding: str, pack: Callable[[bytes], bytes]) -> None:
    cut = answer(coding, pack(bytes(2 * MAX_BYTES)), is_robots_file=True, max_bytes=1)
    assert (cut.outcome, len(cut.body)) == ("ok", MAX_BYTES + 1)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_what_is_not_packed_as_it_is_called_is_told(coding: str) -> None:
    broken = answer(coding, b"\xff\xd8 no such thing")
    assert (broken.outcome, broken.body) == ("http_error", b"")
    assert broken.detail.startswith(f"called {coding}, but is none: ")


def test_what_ends_in_the_middle_is_as_long_as_it_is() -> None:
    data = bytes(range(256)) * 100
    half = gzip.compress(data)[:200]
    there = answer("gzip", half)
    assert there.outcome == "ok" and 0 < len(there.body) < len(data) and data.startswith(there.body)
