"""Lines of an annotation list to label arrays and reject rows; no line is ever lost.

    row = key  SEP  tag { SEP tag }        SEP = any run of tabs and spaces, tag = class[:confidence]

The lists write one tab, older ones runs of up to 8 spaces, or both. The key is a URL, an ImageNet id with its folder,
or a file name. Lists of the form `n03874293_7679 SEP URL SEP tags` are recognised row by row; there the URL is the
key, as in all other lists of URLs. Confidences are rounded to float32.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.annotations import reasons
from ml_images.annotations.scanner import Scanned, scan
from ml_images.annotations.take import count_labels
from ml_images.annotations.words import LF, Bytes

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, eq=False)
class Parsed:
    """The label rows and the rejected lines of one piece of a list: len(keys) + len(rejects) = lines.

    Row r comes from line `lines[r]` (1-based), has the key `keys[r]` and the labels of set s = `sets[r]`:
    `offsets[s]:offsets[s + 1]` of classes, confidences and absent, in source order and without duplicates. Rows with
    the same text behind the key share a set. `take_rows(offsets, sets)` has the labels row by row.
    """

    keys: pa.StringArray
    lines: npt.NDArray[np.int64]  # (rows)
    sets: npt.NDArray[np.int32]  # (rows)
    offsets: npt.NDArray[np.int64]  # (sets + 1)
    classes: npt.NDArray[np.int32]
    confidences: npt.NDArray[np.float32]
    absent: npt.NDArray[np.int8]  # 1: the row says that the class is absent (0), though it may also say the opposite
    rejects: pa.RecordBatch  # schemas.REJECTS
    duplicate_tags: int  # tags dropped because their row has the class already; the highest confidence is kept

    @property
    def num_lines(self) -> int:
        return len(self.keys) + self.rejects.num_rows

    @property
    def num_labels(self) -> int:
        return count_labels(self.offsets, self.sets)


def parse_lines(data: bytes | pa.Buffer, *, source: str, first_line: int, num_classes: int) -> Parsed:
    """Parse whole lines, ended by LF or CRLF (the last one may lack it), fewer than 2^31 bytes.

    `first_line` is the 1-based number that the first of them has in `source`; a byte order mark is dropped before
    line 1. Nothing in the bytes makes this raise: whatever is not a label row becomes a reject row with one of
    annotations.reasons.
    """
    array = line_bytes(data, first_line)
    scanned = scan(array, num_classes)
    keys = pa.StringArray.from_buffers(
        len(scanned.lines), pa.py_buffer(scanned.key_offsets), pa.py_buffer(scanned.key_bytes)
    )
    rejects = _rejects(array, scanned, source, first_line)
    lines = scanned.lines + first_line
    labels = (scanned.sets, scanned.offsets, scanned.classes, scanned.confidences, scanned.absent)
    return Parsed(keys, lines, *labels, rejects, scanned.duplicate_tags)


def line_bytes(data: bytes | pa.Buffer, first_line: int) -> Bytes:
    """`data` as an array, without the byte order mark that a file may begin with."""
    array = np.frombuffer(data, np.uint8)
    return array[len(_BOM) :] if first_line == 1 and array[: len(_BOM)].tobytes() == _BOM else array


def line_texts(data: Bytes, lines: npt.NDArray[np.int64]) -> list[str]:
    """The text of some label rows of `data`, by the number of their line in it (0-based), without line ends."""
    ends = np.append(np.flatnonzero(data == LF), len(data))
    starts = np.where(lines > 0, ends[lines - 1] + 1, 0)
    # A label row is UTF-8: its key was checked, everything else in it is ASCII.
    return [line.removesuffix(b"\r").decode() for line in _pieces(data, starts, ends[lines])]


def _rejects(data: Bytes, scanned: Scanned, source: str, first_line: int) -> pa.RecordBatch:
    count = len(scanned.reject_lines)
    lines = _pieces(data, scanned.reject_starts, scanned.reject_ends)
    readable = scanned.reject_codes != reasons.OF_LINES.index(reasons.BAD_ENCODING)
    columns = [
        pa.array([source] * count, pa.string()),
        pa.array(scanned.reject_lines + first_line, pa.int64()),
        pa.array([line.decode("utf-8", "backslashreplace") for line in lines], pa.string()),
        pa.array([reasons.OF_LINES[code] for code in scanned.reject_codes.tolist()], pa.string()),
        pa.array([None if good else line for good, line in zip(readable.tolist(), lines, strict=True)], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schemas.REJECTS)


def _pieces(data: Bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> list[bytes]:
    return [data[start:end].tobytes() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
