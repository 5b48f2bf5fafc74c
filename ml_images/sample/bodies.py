"""Faults in the body: its length, its pieces, its encoding, its type, and what is in it."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

from ml_images.sample.answers import HTML, JPEG, Answer, Asked, End, Picture, Step, head, refusal, whole

_PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>This photo has moved out.</body></html>\n"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64"/></svg>\n'
_PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)  # GIF89a, transparent, 43 bytes: what trackers send
_START = b"\xff\xd8\xff\xe0"  # of a JPEG
_BLOCK = bytes(1 << 16)
_BOMB_MIB = 256


def _of(make: Callable[[Asked, Picture], Answer]) -> Callable[[Asked], Answer]:
    """A behaviour that needs the picture."""
    return lambda asked: refusal(404) if asked.picture is None else make(asked, asked.picture)


def _first_half(end: Step, asked: Asked, picture: Picture) -> Iterator[Step]:
    yield head(200, len(picture.data), picture.content_type) + picture.data[: len(picture.data) // 2]
    yield end


def _shorter(asked: Asked, picture: Picture) -> bytes:
    return head(200, len(picture.data) // 2, picture.content_type) + picture.data


def _unmeasured(asked: Asked, picture: Picture) -> Iterator[Step]:
    yield head(200, None, picture.content_type, Connection="close") + picture.data
    yield End.CLOSE


def _endless(asked: Asked) -> Iterator[Step]:
    yield head(200, None, JPEG) + _START
    while True:
        yield _BLOCK


def _promising(length: int, asked: Asked) -> Iterator[Step]:
    yield head(200, length, JPEG) + _START
    while True:
        yield _BLOCK


def _negative(asked: Asked, picture: Picture) -> Iterator[Step]:
    yield head(200, -1, picture.content_type) + picture.data
    yield End.CLOSE


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunked(last: bytes, asked: Asked, picture: Picture) -> Iterator[Step]:
    """The picture in three chunks, ended by `last`; the connection closes where that is no proper end."""
    third = len(picture.data) // 3 + 1
    yield head(200, None, picture.content_type, Transfer_Encoding="chunked")
    for start in range(0, len(picture.data), third):
        yield _chunk(picture.data[start : start + third])
    yield last
    if last != b"0\r\n\r\n":
        yield End.CLOSE


def _chunked_endless(asked: Asked) -> Iterator[Step]:
    yield head(200, None, JPEG, Transfer_Encoding="chunked") + _chunk(_START)
    while True:
        yield _chunk(_BLOCK)


def _encoded(encoding: str, encode: Callable[[bytes], bytes], asked: Asked, picture: Picture) -> bytes:
    return whole(200, encode(picture.data), picture.content_type, Content_Encoding=encoding)


def _gzip_half(data: bytes) -> bytes:
    packed = gzip.compress(data, 1)
    return packed[: len(packed) // 2]


@cache
def _bomb() -> bytes:
    """Zeros: each MiB is the same thousand bytes, as a full flush forgets what came before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    million = bytes(1 << 20)
    repeated = packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(_BOMB_MIB):
        checksum = zlib.crc32(million, checksum)
    sums = checksum.to_bytes(4, "little") + (_BOMB_MIB << 20).to_bytes(4, "little")
    return gzip.compress(b"")[:10] + repeated * _BOMB_MIB + packer.flush() + sums


def _typed(content_type: str | None, asked: Asked, picture: Picture) -> bytes:
    return whole(200, picture.data, content_type)


def _fixed(body: bytes, content_type: str) -> Callable[[Asked], bytes]:
    return lambda asked: whole(200, body, content_type)


BEHAVIOURS: Mapping[str, Callable[[Asked], Answer]] = {
    "cut": _of(partial(_first_half, End.CLOSE)),
    "stalled": _of(partial(_first_half, float("inf"))),
    "shorter": _of(_shorter),
    "unmeasured": _of(_unmeasured),
    "huge": partial(_promising, 10**12),
    "endless": _endless,
    "negative": _of(_negative),
    "chunked": _of(partial(_chunked, b"0\r\n\r\n")),
    "chunked_cut": _of(partial(_chunked, b"")),
    "chunked_bad": _of(partial(_chunked, b"zz\r\nmany\r\n")),
    "chunked_endless": _chunked_endless,
    "gzip": _of(partial(_encoded, "gzip", gzip.compress)),
    "deflate": _of(partial(_encoded, "deflate", zlib.compress)),
    "gzip_bad": _of(partial(_encoded, "gzip", bytes)),
    "gzip_cut": _of(partial(_encoded, "gzip", _gzip_half)),
    "gzip_bomb": lambda asked: whole(200, _bomb(), JPEG, Content_Encoding="gzip"),
    "encoded": _of(partial(_encoded, "squeezed", bytes)),
    "octets": _of(partial(_typed, "application/octet-stream")),
    "untyped": _of(partial(_typed, None)),
    "called_html": _of(partial(_typed, HTML)),
    "page": _fixed(_PAGE, JPEG),
    "html": _fixed(_PAGE, HTML),
    "svg": _fixed(_SVG, "image/svg+xml"),
    "pixel": _fixed(_PIXEL, "image/gif"),
    "empty": _fixed(b"", JPEG),
}
