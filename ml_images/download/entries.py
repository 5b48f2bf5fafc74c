"""One entry of a list of URLs, text as it stood there, to what is to be fetched for its key."""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import quote

import pyarrow as pa

from ml_images.download.url import same_place, url_of
from ml_images.download.wanted import Candidate, Wanted
from ml_images.options import option

# `urls` has one item for each of ListColumns.urls, null where it is a template or the list has nothing there.
ENTRY = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("urls", pa.list_(pa.string())),
        pa.field("size", pa.string()),
        pa.field("md5", pa.string()),
        pa.field("rotation", pa.string()),
    ]
)


class BadEntry(ValueError):
    """A size, digest or rotation that is none; the message names it."""


@dataclass(frozen=True)
class ListColumns:
    """Which columns of a list say what. A URL may be a template: https://mirror.example/{key}.jpg"""

    key: str = option("", "column of the keys; without it the first URL is the key")
    urls: list[str] = option(["url"], "columns of URLs or templates with {key}, in the order in which they are tried")
    size: str = option("", "column of the expected number of bytes")
    md5: str = option("", "column of the expected MD5, base64 or hexadecimal")
    checked: str = option(
        "", "which of urls size and md5 are about (mirrors and thumbnails differ); the first if empty"
    )
    rotation: str = option("", "column of counter-clockwise degrees that make a picture upright (Open Images)")
    rotated: list[str] = option([], "which of urls rotation is about; all if empty")

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("urls must name at least one column or template")
        if not self.key and "{key}" in self.urls[0]:
            raise ValueError(f"key must name a column when the first of urls is a template, got urls={self.urls}")
        for name, given in (("checked", [self.checked] if self.checked else []), ("rotated", self.rotated)):
            for one in given:
                if one not in self.urls:
                    raise ValueError(f"{name} must be among urls ({', '.join(self.urls)}), got '{one}'")

    def named(self) -> list[str]:
        """The columns that a list must have."""
        names = [self.key, *(name for name in self.urls if "{key}" not in name), *self.facts().values()]
        return [name for name in names if name]

    def facts(self) -> dict[str, str]:
        return {"size": self.size, "md5": self.md5, "rotation": self.rotation}


def to_wanted(
    key: str,
    urls: list[str | None] | None,
    size: str | None,
    md5: str | None,
    rotation: str | None,
    columns: ListColumns,
    base_url: str = "",
) -> Wanted:
    """What to fetch for one entry. Without an entry of its own (`urls` null) a key is its URL, or below `base_url`.

    Raises BadEntry.
    """
    if urls is None:
        url = url_of(key, base_url)
        return Wanted(key, (Candidate(url),) if url else ())
    checked = columns.checked or columns.urls[0]
    turn = _rotation(rotation)
    candidates: dict[str, Candidate] = {}  # by place: a URL that stands there twice is tried once
    for name, given in zip(columns.urls, urls, strict=True):
        url = name.replace("{key}", quote(key)) if "{key}" in name else (given or "").strip()
        is_checked = name == checked
        if url and (is_checked or same_place(url) not in candidates):
            candidates[same_place(url)] = Candidate(
                url,
                _size(size) if is_checked else None,
                _md5(md5) if is_checked else None,
                turn if name in (columns.rotated or columns.urls) else 0,
            )
    return Wanted(key, tuple(candidates.values()))


def _size(text: str | None) -> int | None:
    """Bytes; lists that went through pandas write 494555.0."""
    if not text or not text.strip():
        return None
    number = text.strip().removesuffix(".0")
    if not (number.isascii() and number.isdigit()):
        raise BadEntry(f"size '{text}' is no number of bytes")
    return int(number)


def _md5(text: str | None) -> bytes | None:
    if not text or not text.strip():
        return None
    digest = text.strip()
    try:
        found = bytes.fromhex(digest) if len(digest) == 32 else base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != 16:
        raise BadEntry(f"md5 '{text}' is neither base64 nor hexadecimal of 16 bytes")
    return found


def _rotation(text: str | None) -> int:
    """Degrees; empty means that nobody looked (Open Images: the photo had gone by then)."""
    if not text or not text.strip():
        return 0
    degrees = text.strip().removesuffix(".0")
    if degrees not in ("0", "90", "180", "270"):
        raise BadEntry(f"rotation '{text}' is none of 0, 90, 180, 270")
    return int(degrees)
