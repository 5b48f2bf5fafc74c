"""Rejected lines by reason, each with its first line as the example, counted part by part."""

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from ml_images.report.contents import Reject
from ml_images.storage.tables import read_batches

REJECT_COLUMNS = ["source", "line", "text", "reason"]

# A part holds the rejects of a slice of some megabytes, so that few rows at once bound what their texts can take.
_ROWS = 1 << 12


def count_rejects(parts: Iterable[str]) -> tuple[Reject, ...]:
    """What some parts of a rejects table hold, one entry a reason, the most frequent first."""
    return merge_rejects(
        reject for part in parts for batch in read_batches(part, REJECT_COLUMNS, _ROWS) for reject in _by_reason(batch)
    )


def merge_rejects(found: Iterable[Reject]) -> tuple[Reject, ...]:
    """One entry a reason with the sum of its counts and its first example by (source, line)."""
    merged: dict[str, Reject] = {}
    for reject in found:
        before = merged.get(reject.reason)
        if before is None:
            merged[reject.reason] = reject
        else:
            first = min(before, reject, key=lambda one: (one.source, one.line))
            merged[reject.reason] = replace(first, count=before.count + reject.count)
    return tuple(sorted(merged.values(), key=lambda reject: (-reject.count, reject.reason)))


def _by_reason(batch: pa.RecordBatch) -> Iterable[Reject]:
    rows = pa.Table.from_batches([batch])
    for reason in pc.unique(rows["reason"]).to_pylist():
        lines = rows.filter(pc.equal(rows["reason"], reason))
        order = [("source", "ascending"), ("line", "ascending")]
        (first,) = lines.take(pc.select_k_unstable(lines, 1, order)).to_pylist()
        yield Reject(reason, len(lines), first["source"], first["line"], first["text"])
