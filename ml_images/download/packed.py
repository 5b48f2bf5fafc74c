"""Bodies that came packed, though nobody asked for it: gzip, deflate and brotli.

libcurl would unpack what it reads as it reads it, also while a transfer pauses for want of room: 128 KB of gzip may
hold 128 MB. So bodies are taken as they come, and unpacked when they are complete, one at a time (curl.py).
"""

import zlib
from dataclasses import replace

import pyarrow as pa

from ml_images.download.header import content_coding
from ml_images.download.robots import MAX_BYTES
from ml_images.download.transport import Response

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"


def unpacked(response: Response, max_bytes: int) -> Response:
    """The answer with its body unpacked: too_large where that is more than `max_bytes` (a robots file is cut instead),
    http_error where it is not packed as its header says. What ends in the middle is as long as it is."""
    coding = content_coding(response.headers)
    most = MAX_BYTES if response.request.is_robots_file else max_bytes
    try:
        body = (_brotli if coding == "br" else _zlib)(response.body, most + 1)
    except (zlib.error, pa.ArrowInvalid, OSError) as error:
        return replace(response, outcome="http_error", detail=f"called {coding}, but is none: {error}", body=b"")
    if len(body) > most and not response.request.is_robots_file:
        return replace(response, outcome="too_large", detail=f"more than {most} bytes", body=b"")
    return replace(response, body=body)


def _zlib(packed: bytes, most: int) -> bytes:
    try:
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        body = unpacker.decompress(packed, most)
        while unpacker.unused_data.startswith(_GZIP) and len(body) < most:  # another member (RFC 1952, 2.2)
            packed, unpacker = unpacker.unused_data, zlib.decompressobj(_GZIP_OR_ZLIB)
            body += unpacker.decompress(packed, most - len(body))
        return body
    except zlib.error:  # some servers call that deflate which lacks zlib's header (RFC 9110, 8.4.1.2)
        if packed.startswith(_GZIP):
            raise
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)


def _brotli(packed: bytes, most: int) -> bytes:
    pieces, left = list[bytes](), most
    with pa.CompressedInputStream(pa.BufferReader(packed), "brotli") as stream:
        while left and (piece := stream.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)
