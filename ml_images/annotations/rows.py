"""Lines of an annotation list to label arrays and reject rows; no line is ever lost.

    row = key  SEP  tag { SEP tag }        SEP = any run of tabs and spaces, tag = class[:confidence]

The lists write one tab, older ones runs of up to 8 spaces, or both. The key is a URL, an ImageNet id with its folder,
or a file name. Lists of the form `n03874293_7679 SEP URL SEP tags` are recognised row by row; there the URL is the
key, as in all other lists of URLs. Confidences are rounded to float32.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.annotations import reasons
from ml_images.annotations.tags import BadTag, Tags

_BOM = b"\xef\xbb\xbf"
_IMAGENET_ID = re.compile(rb"n\d{8}_\d+")


@dataclass(frozen=True, eq=False)
class Parsed:
    """The label rows and the rejected lines of one piece of a list: len(keys) + len(rejects) = lines.

    Row r has the key `keys[r]` and the labels `offsets[r]:offsets[r + 1]` of classes and confidences, in source order
    and without duplicates. offsets: int64 (rows + 1).
    """

    keys: list[str]
    offsets: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float32]
    rejects: pa.RecordBatch  # schemas.REJECTS
    duplicate_tags: int  # tags dropped because their row has the class already; the highest confidence is kept


def parse_lines(data: bytes, *, source: str, first_line: int, num_classes: int) -> Parsed:
    """Parse whole lines, ended by LF or CRLF (the last one may lack it).

    `first_line` is the 1-based number that the first of them has in `source`; a byte order mark is dropped before
    line 1. Nothing in the bytes makes this raise: whatever is not a label row becomes a reject row with one of
    annotations.reasons.
    """
    lines = (data.removeprefix(_BOM) if first_line == 1 else data).split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    tags = Tags(num_classes)
    keys: list[str] = []
    counts: list[int] = []
    numbers: list[int] = []  # of the tags of all rows
    rejects: list[tuple[int, str, str]] = []
    for line_number, line in enumerate(lines, first_line):
        fields = _fields(line)
        try:
            key, row = _row(fields, tags)
        except BadTag as bad:
            rejects.append(_reject(line_number, line, bad.reason))
        except UnicodeDecodeError:
            rejects.append(_reject(line_number, line, reasons.BAD_ENCODING))
        else:
            keys.append(key)
            counts.append(len(row))
            numbers.extend(row)

    offsets = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    classes = np.array(tags.classes, np.int32)[numbers]
    confidences = np.array(tags.confidences, np.float32)[numbers]
    kept = _drop_duplicates(offsets, classes, confidences, num_classes)
    return Parsed(keys, *kept, _reject_batch(source, rejects), len(classes) - len(kept[1]))


def _fields(line: bytes) -> list[bytes]:
    # Not bytes.split(): that also splits at form feeds, vertical tabs and carriage returns.
    fields = line.removesuffix(b"\r").replace(b"\t", b" ").split(b" ")
    return [field for field in fields if field] if b"" in fields else fields


def _row(fields: list[bytes], tags: Tags) -> tuple[str, list[int]]:
    """(key, numbers of its tags). Raises BadTag, and UnicodeDecodeError for a key that is not UTF-8."""
    if not fields:
        raise BadTag(reasons.BLANK)
    start = 1
    if len(fields) > 1 and b"://" in fields[1] and _IMAGENET_ID.fullmatch(fields[0]):
        start = 2
    if len(fields) == start:
        raise BadTag(reasons.NO_TAGS)
    return fields[start - 1].decode("utf-8"), list(map(tags.__getitem__, fields[start:]))


def _reject(line_number: int, line: bytes, reason: str) -> tuple[int, str, str]:
    text = line.removesuffix(b"\r")
    try:
        return line_number, text.decode("utf-8"), reason
    except UnicodeDecodeError:
        return line_number, text.decode("utf-8", "backslashreplace"), reasons.BAD_ENCODING


def _reject_batch(source: str, rejects: list[tuple[int, str, str]]) -> pa.RecordBatch:
    columns = [
        pa.array([source] * len(rejects), pa.string()),
        pa.array([line for line, _, _ in rejects], pa.int64()),
        pa.array([text for _, text, _ in rejects], pa.string()),
        pa.array([reason for _, _, reason in rejects], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.REJECTS)


def _drop_duplicates(
    offsets: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int32],
    confidences: npt.NDArray[np.float32],
    num_classes: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The labels with each class once a row, at its first place and with its highest confidence."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    cells, first, cell_of = np.unique(rows * num_classes + classes, return_index=True, return_inverse=True)
    if len(cells) == len(classes):
        return offsets, classes, confidences
    highest = np.full(len(cells), schemas.UNKNOWN, np.float32)
    np.maximum.at(highest, cell_of, confidences)
    kept = np.sort(first)
    counts = np.bincount(rows[kept], minlength=len(offsets) - 1)
    return np.concatenate([[0], np.cumsum(counts)]), classes[kept], highest[cell_of[kept]]
