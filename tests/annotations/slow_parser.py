"""The slow, obvious parser that the compiled one must agree with, line by line and tag by tag."""

import re

from ml_images.annotations import reasons

SMALLEST = 2.0**-149  # of float32
_TAG = re.compile(rb"(\d+)(?::([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))?")
_NOT_FINITE = re.compile(rb"\d+:[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
_IMAGENET_ID = re.compile(rb"n\d{8}_\d+")


def parse(
    data: bytes, num_classes: int
) -> tuple[list[tuple[str, dict[int, list[float]]]], list[tuple[int, bytes, str]], int]:
    """(rows as (key, all confidences of each class), rejects as (1-based line, bytes, reason), duplicate tags)."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    rows, rejects, duplicate_tags = [], [], 0
    for number, line in enumerate(lines, 1):
        line = line.removesuffix(b"\r")
        row = parse_line(line, num_classes)
        if isinstance(row, tuple):
            rows.append(row)
            duplicate_tags += len(fields_of(line)) - 1 - len(row[1])
        else:
            rejects.append((number, line, row))
    return rows, rejects, duplicate_tags


def parse_line(line: bytes, num_classes: int) -> tuple[str, dict[int, list[float]]] | str:
    """(key, all confidences of each class), or the reason why not."""
    fields = fields_of(line)
    tags: dict[int, list[float]] = {}
    reason = reasons.BLANK if not fields else reasons.NO_TAGS if len(fields) == 1 else None
    for field in fields[1:]:
        tag = parse_tag(field, num_classes)
        if isinstance(tag, str):
            reason = tag
            break
        tags.setdefault(tag[0], []).append(tag[1])
    try:
        key = fields[0].decode() if reason is None else line.decode()
    except UnicodeDecodeError:
        return reasons.BAD_ENCODING
    return reason or (key, tags)


def fields_of(line: bytes) -> list[bytes]:
    """The key, if there is one, and the tags."""
    fields = [field for field in re.split(rb"[ \t]+", line) if field]
    if len(fields) > 1 and _IMAGENET_ID.fullmatch(fields[0]) and b"://" in fields[1]:
        return fields[1:]
    return fields


def parse_tag(tag: bytes, num_classes: int) -> tuple[int, float] | str:
    """(class, confidence), or the reason why not."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return reasons.BAD_CONFIDENCE if _NOT_FINITE.fullmatch(tag) else reasons.BAD_TAG
    digits = match[1].lstrip(b"0") or b"0"
    if len(digits) > 18 or int(digits) >= num_classes:
        return reasons.CLASS_OUT_OF_RANGE
    confidence = 1.0 if match[2] is None else float(match[2])
    if match[2] is not None and abs(confidence) < SMALLEST and re.search(b"[1-9]", re.split(b"[eE]", match[2])[0]):
        confidence = -SMALLEST if match[2].startswith(b"-") else SMALLEST
    if confidence != -1 and not 0 <= confidence <= 1:
        return reasons.BAD_CONFIDENCE
    return int(digits), confidence + 0.0
