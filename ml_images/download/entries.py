"""One entry of a list of URLs, text as it stood there, to what is to be fetched for its key."""

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from ml_images.download.keys import endings_of
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
ROW = pa.struct(
    [
        pa.field("url", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("attempts", pa.int32()),
        pa.field("elapsed_s", pa.float64()),
    ]
)

# What a size, a digest and a rotation look like, as Java reads it, too: bytes (lists that went through pandas write
# 494555.0), 16 bytes in hexadecimal or base64, degrees.
VALUES = {
    "size": r"[0-9]+(?:\.0)?",
    "md5": r"[0-9A-Fa-f]{32}|[0-9A-Za-z+/]{22}==",
    "rotation": r"(?:0|90|180|270)(?:\.0)?",
}


REPLACED = "\ufffd"  # what Spark makes of bytes that are no UTF-8


class BadEntry(ValueError):
    """A size, digest or rotation that is none, or a key that is not as the list has it; the message names it."""


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
    rotation: str = option(
        "",
        "column of counter-clockwise degrees that make a picture upright (Open Images); not of HEIF, nor of TIFF "
        "with a turn of its own, which are read upright",
    )
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

    def checked_url(self) -> int:
        """Which of urls, from 0, size and md5 are about."""
        return self.urls.index(self.checked) if self.checked else 0

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
    row: dict[str, Any] | None = None,
) -> Wanted:
    """What to fetch for one entry. Without an entry of its own (`urls` null) a key is its URL, or below `base_url`.

    `row`, by the fields of ROW: of the placeholder that the key has, so that what it tells of is not asked again.
    Raises BadEntry.
    """
    if REPLACED in key:
        raise BadEntry(f"key '{key}' was not written in UTF-8, as lists are to be; others may have become the same")
    if urls is None:
        url = url_of(key, base_url)
        return Wanted(key, (Candidate(url),) if url else ())
    checked = columns.urls[columns.checked_url()]
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
    endings = () if row is None else endings_of(**row, urls=[candidate.url for candidate in candidates.values()])
    return Wanted(key, tuple(candidates.values()), endings)


def _size(text: str | None) -> int | None:
    value = _value("size", text, "is no number of bytes")
    return int(value.removesuffix(".0")) if value else None


def _md5(text: str | None) -> bytes | None:
    value = _value("md5", text, "is neither base64 nor hexadecimal of 16 bytes")
    if not value:
        return None
    return bytes.fromhex(value) if len(value) == 32 else base64.b64decode(value)


def _rotation(text: str | None) -> int:
    """Degrees; empty means that nobody looked (Open Images: the photo had gone by then)."""
    value = _value("rotation", text, "is none of 0, 90, 180, 270")
    return int(value.removesuffix(".0")) if value else 0


def _value(name: str, text: str | None, otherwise: str) -> str:
    """The value without blanks around it, empty where there is none."""
    value = (text or "").strip()
    if value and not re.fullmatch(VALUES[name], value):
        raise BadEntry(f"{name} '{text}' {otherwise}")
    return value
