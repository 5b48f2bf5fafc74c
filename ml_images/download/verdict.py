"""The ladder from an answer to its outcome, cheapest question first, each asked as early as its answer is there.

Before the body: status, opt-out, content type, announced length. After it: length, known placeholders, magic bytes,
expected length and digest. What is left decides the decoder.
"""

import hashlib
from collections.abc import Iterable

from ml_images.download.config import FetchConfig
from ml_images.download.opt_out import is_opted_out
from ml_images.download.placeholder import is_placeholder, may_be_placeholder
from ml_images.download.transport import Headers
from ml_images.download.wanted import Candidate

REDIRECT = "redirect"  # not an outcome of a row: there is another place to ask
REDIRECTS = frozenset((301, 302, 303, 307, 308))
_BY_STATUS = {401: "forbidden", 403: "forbidden", 404: "not_found", 408: "timeout", 410: "not_found"}
_BY_STATUS |= {429: "rate_limited", 451: "forbidden"}
_BARE = ("", "identity")
# Hosts that have no idea what they store.
_UNKNOWN_TYPES = frozenset(("", "application/octet-stream", "binary/octet-stream"))


def of_head(
    status: int, headers: Headers, candidates: Iterable[Candidate], cfg: FetchConfig, product: str | None
) -> str | None:
    """The outcome of an answer by its head alone, REDIRECT, or None: the body has to be read.

    `candidates` are the wishes that the answer would serve; with `product` (our user agent's name) opt-outs count.
    """
    if status in REDIRECTS and "location" in headers:
        return REDIRECT
    if 400 <= status < 500 and "retry-after" in headers:  # whatever it is called, it is not for good
        return "rate_limited"
    if status != 200:
        return "server_error" if status >= 500 else _BY_STATUS.get(status, "http_error")
    if product is not None and is_opted_out(headers, product):
        return "opted_out"
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content_type.startswith("image/") and content_type not in _UNKNOWN_TYPES:
        return "not_an_image"
    length = announced_length(headers)
    if length is None:
        return None
    if length == 0:
        return "empty"
    if length > cfg.max_bytes:
        return "too_large"
    if not may_be_placeholder(length) and all(one.size not in (None, length) for one in candidates):
        return "changed"
    return None


def of_body(body: bytes, candidate: Candidate, is_picture: bool, is_repeated: bool) -> str | None:
    """The outcome of a complete body by its bytes, or None: decode it. `is_picture`: by its first bytes; `is_repeated`:
    an earlier look at the table found it under many different URLs."""
    if not body:
        return "empty"
    if is_repeated or is_placeholder(body):
        return "placeholder"
    if not is_picture:
        return "not_an_image"
    if candidate.size is not None and candidate.size != len(body):
        return "changed"
    if candidate.md5 is not None and candidate.md5 != hashlib.md5(body, usedforsecurity=False).digest():
        return "changed"
    return None


def announced_length(headers: Headers) -> int | None:
    """Content-Length, where it is the body's own: not that of an encoding, nor beside chunks (RFC 9112, 6.3), and a
    number."""
    text = headers.get("content-length", "").strip()
    if "transfer-encoding" in headers or headers.get("content-encoding", "identity").strip().lower() not in _BARE:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
