"""The parts of labels, rejects and conflicts that one unit of work writes: rows come in as parsed, go out closed."""

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import pyarrow as pa

from ml_images import schemas
from ml_images.annotations.scanner import Float32, Int8, Int32, Int64
from ml_images.annotations.take import count_labels, take_rows
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closed_rows import Closed
from ml_images.hierarchy.closure import close_labels
from ml_images.hierarchy.conflicts import to_conflict_batch
from ml_images.hierarchy.negatives import close_with_negatives
from ml_images.storage import tables
from ml_images.storage.label_parquet.writer import open_label_part
from ml_images.storage.paths import join

# Closed labels, where verified absences are closed, too, each of which can imply thousands: 30,000 rows that say
# "no object" took 6.4 GB in one piece.
LABELS_AT_ONCE = 1 << 21

_SCHEMAS = {"rejects": schemas.REJECTS, "conflicts": schemas.CONFLICTS}


@dataclass(frozen=True)
class Closing:
    """What is done to the labels of every row."""

    ancestors: Ancestors
    closure: str
    negatives: str  # none: verified absences imply nothing; otherwise one of hierarchy.negatives.POLICIES

    @property
    def tables(self) -> tuple[str, ...]:
        """What is written."""
        return ("labels", "rejects") if self.negatives == "none" else ("labels", "rejects", "conflicts")


class LabelParts:
    """Context manager: parts number `number` of the staged tables in `output`; counts what goes through."""

    def __init__(self, output: str, number: int, closing: Closing) -> None:
        self._closing = closing
        self._stack = ExitStack()
        self._places = {
            table: join(output, table, tables.STAGING, f"part-{number:06d}.parquet") for table in closing.tables
        }
        self.rows = self.labels_closed = self.rejected = self.conflicts = 0

    def __enter__(self) -> "LabelParts":
        places = self._places
        self._labels = self._stack.enter_context(open_label_part(places["labels"]))
        self._others = {
            table: self._stack.enter_context(tables.open_part(places[table], _SCHEMAS[table]))
            for table in places
            if table != "labels"
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(
        self,
        keys: pa.StringArray,
        sources: str | pa.StringArray,
        sets: Int32,
        offsets: Int64,
        classes: Int32,
        confidences: Float32,
        absent: Int8,
    ) -> None:
        """Close and write label rows, given as in annotations.rows.Parsed; sources: of each row, or one of all."""
        ancestors, policy = self._closing.ancestors, self._closing.negatives
        if policy == "none":
            closed = close_labels(offsets, classes, confidences, ancestors, self._closing.closure)
            self._write(keys, sources, closed, sets)
        else:  # conflicts are of rows
            offsets, places = take_rows(offsets, sets)
            offsets, classes, confidences = _with_absences(
                offsets, classes[places], confidences[places], absent[places]
            )
            for start, end in itertools.pairwise(self._cut(offsets, classes, confidences)):
                rows, labels = slice(start, end), slice(offsets[start], offsets[end])
                of_rows = sources if isinstance(sources, str) else sources[rows]
                within = offsets[start : end + 1] - offsets[start]
                self._close_with_negatives(keys[rows], of_rows, within, classes[labels], confidences[labels])

    def _close_with_negatives(
        self, keys: pa.StringArray, sources: str | pa.StringArray, offsets: Int64, classes: Int32, confidences: Float32
    ) -> None:
        policy = self._closing.negatives
        closed, conflicts = close_with_negatives(offsets, classes, confidences, self._closing.ancestors, policy)
        if len(conflicts.rows):
            of_row = pa.array([sources] * len(keys), pa.string()) if isinstance(sources, str) else sources
            self._others["conflicts"].write_batch(to_conflict_batch(conflicts, keys, of_row))
            self.conflicts += len(conflicts.rows)
        self._write(keys, sources, closed, np.arange(len(keys), dtype=np.int32))

    def _cut(self, offsets: Int64, classes: Int32, confidences: Float32) -> list[int]:
        """Where to cut the rows so that those between two cuts have at most about LABELS_AT_ONCE labels when closed."""
        ancestors = self._closing.ancestors
        above = np.diff(ancestors.indptr)
        below = np.bincount(ancestors.indices, minlength=ancestors.num_classes)
        implied = 1 + np.where(confidences == 0, below[classes], above[classes])
        ends = np.concatenate(([0], np.cumsum(implied)))[offsets]
        wanted = np.arange(LABELS_AT_ONCE, ends[-1], LABELS_AT_ONCE)
        cuts = np.unique(np.concatenate(([0], np.searchsorted(ends, wanted), [len(offsets) - 1])))
        return [int(cut) for cut in cuts]

    def _write(self, keys: pa.StringArray, sources: str | pa.StringArray, closed: Closed, sets: Int32) -> None:
        self._labels.write_rows(keys, sources, *closed, sets)
        self.rows += len(keys)
        self.labels_closed += count_labels(closed.offsets, sets)

    def reject(self, rejects: pa.RecordBatch) -> None:
        if rejects.num_rows:
            self._others["rejects"].write_batch(rejects)
            self.rejected += rejects.num_rows


def _with_absences(offsets: Int64, classes: Int32, confidences: Float32, absent: Int8) -> tuple[Int64, Int32, Float32]:
    """The labels, and behind each one that is positive though `absent` an absence of its class."""
    times = np.where((absent != 0) & (confidences > 0), 2, 1)
    places = np.repeat(np.arange(len(classes)), times)
    confidences = confidences[places]
    confidences[1:][places[1:] == places[:-1]] = 0
    return np.concatenate(([0], np.cumsum(times)))[offsets], classes[places], confidences
