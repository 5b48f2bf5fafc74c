"""The header of an answer: from lines to fields, and what in it breaks HTTP or would break us."""

import re
from collections.abc import Sequence

from ml_images.download.transport import Headers

_STATUS = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")
# Ends a field of those whose meaning reaches to the end of the field; all others are joined by commas (RFC 9110, 5.3).
FIELD_END = "\n"
_KEPT_APART = frozenset(("x-robots-tag", "retry-after", "location"))
# The last five mean nothing, but stand with files that were stored so: aws-chunked with many on S3.
_PLAIN = frozenset(("", "identity", "chunked", "none", "binary", "utf-8", "utf8", "aws-chunked"))
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br"}


def parse_header(lines: Sequence[bytes]) -> tuple[int, Headers]:
    """Status and fields from a status line and field lines. A line that begins with a blank continues the one before
    (RFC 9112, 5.2). Repeated fields are joined by ", ", those of _KEPT_APART by FIELD_END. Raises ValueError."""
    match = _STATUS.match(lines[0])
    if match is None:
        raise ValueError("no status line")
    headers: dict[str, str] = {}
    name = ""
    for line in lines[1:]:
        text = line.decode("latin-1").strip("\r\n")
        if text[:1] in (" ", "\t") and name:
            headers[name] += " " + text.strip(" \t")
            continue
        name, colon, value = text.partition(":")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if not colon:
            raise ValueError(f"a header line without a colon: {text[:60]!r}")
        between = FIELD_END if name in _KEPT_APART else ", "
        headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
    return int(match[1]), headers


def announced_length(headers: Headers) -> int | None:
    """Bytes of the body as Content-Length has them, None without one. Raises ValueError for several lengths: those who
    believe different ones disagree about where the next answer begins (RFC 9112, 6.3)."""
    values = {value.strip() for value in headers.get("content-length", "").split(",")} - {""}
    if not values or "transfer-encoding" in headers:
        return None
    if len(values) > 1 or not (text := values.pop()).isascii() or not text.isdigit():
        raise ValueError(f"Content-Length: {headers['content-length'][:60]}")
    return int(text[:18])


def check_codings(headers: Headers) -> None:
    """Raises ValueError for a body that is packed more than once, as each layer of gzip can hold a thousand times its
    size, and for one that is packed for its transfer, which nobody may do unasked (RFC 9112, 6.1)."""
    if len(_codings(headers, "content-encoding")) + len(_codings(headers, "transfer-encoding")) > 1:
        raise ValueError("a body that is packed more than once")
    if _codings(headers, "transfer-encoding"):
        raise ValueError(f"Transfer-Encoding: {headers['transfer-encoding'][:60]}")


def content_coding(headers: Headers) -> str:
    """How a body that passed check_codings is packed: gzip, deflate, br, or "" where it is not. Raises ValueError for
    what nothing here unpacks."""
    for name in _codings(headers, "content-encoding"):
        if name not in _CODINGS:
            raise ValueError(f"Content-Encoding: {headers['content-encoding'][:60]}")
        return _CODINGS[name]
    return ""


def _codings(headers: Headers, field: str) -> list[str]:
    names = (name.strip().lower() for name in headers.get(field, "").split(","))
    return [name for name in names if name not in _PLAIN]
