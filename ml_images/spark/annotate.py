"""Annotation lists in, the tables `labels` and `rejects` out: labels + rejects = lines, counted on the way.

Lists are cut into slices of whole lines. A first pass counts the lines of each slice (as fast as the disk), so that the
second knows the number of every line; it parses, closes and writes the two parts of its slice.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images.annotations.batches import to_label_batch
from ml_images.annotations.rows import parse_lines
from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.closure import close_labels
from ml_images.spark import work
from ml_images.storage import tables
from ml_images.storage.lines import Slice, plan_slices, read_slice
from ml_images.storage.paths import join

Closure = Literal["closed_max", "none", "leaf_only", "as_released"]

SLICE_BYTES = 32 << 20  # about 200,000 rows, some 300 MB of a worker's memory while they are parsed

_SLICE = [pa.field("number", pa.int64()), pa.field("source", pa.string()), pa.field("location", pa.string())]
_SLICE += [pa.field("start", pa.int64()), pa.field("end", pa.int64())]
_COUNTED = pa.schema([pa.field("number", pa.int64()), pa.field("lines", pa.int64())])
_PLACED = pa.schema([*_SLICE, pa.field("first_line", pa.int64())])
_PARSED = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("lines", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("labels_given", pa.int64()),
        pa.field("labels_closed", pa.int64()),
        pa.field("duplicate_tags", pa.int64()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("rejects", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class Annotated:
    """What happened to the lines. rows + rejects = lines, for each source and in all."""

    lines: int
    rows: int
    labels_given: int
    labels_closed: int
    duplicate_tags: int
    rejects: dict[str, int]  # by reason
    sources: dict[str, int]  # label rows by source


def annotate(
    spark: SparkSession, files: list[tuple[str, int]], ancestors: Ancestors, closure: Closure, output: str
) -> Annotated:
    """Parse and close the lists `files` ((location, bytes) pairs); stages the tables labels and rejects in `output`."""
    slices = plan_slices(files, SLICE_BYTES)
    rows = [{"number": number, **asdict(piece)} for number, piece in enumerate(slices)]
    first_lines = _first_lines(spark, slices, rows)
    placed = [{**row, "first_line": first} for row, first in zip(rows, first_lines, strict=True)]
    for table in ("labels", "rejects"):
        tables.claim(join(output, table), table)
        tables.clear_staging(join(output, table))
    broadcast = spark.sparkContext.broadcast(ancestors)
    parse = partial(_parse_slices, broadcast=broadcast, closure=closure, output=output)
    parsed = work.run(work.units(spark, placed, _PLACED), parse, _PARSED, "annotate")
    for table in ("labels", "rejects"):
        tables.require_staged(join(output, table), len(slices))
    done = _sum(parsed)
    if not done.lines:
        raise InputError(f"the annotation lists hold no line: {', '.join(source for source, _ in files)}")
    return done


def _first_lines(spark: SparkSession, slices: list[Slice], rows: list[dict[str, Any]]) -> list[int]:
    """The 1-based number of the first line of each slice."""
    if all(piece.start == 0 for piece in slices):
        return [1] * len(slices)  # every file is one slice
    frame = work.units(spark, rows, pa.schema(_SLICE))
    counted = {row["number"]: row["lines"] for row in work.run(frame, _count_slices, _COUNTED, "count lines")}
    first, numbers = 1, []
    for number, piece in enumerate(slices):
        first = 1 if piece.start == 0 else first
        numbers.append(first)
        first += counted[number]
    return numbers


def _count_slices(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        data = read_slice(Slice(row["source"], row["location"], row["start"], row["end"]))
        counted = {"number": row["number"], "lines": data.count(b"\n") + (not data.endswith(b"\n") and data != b"")}
        yield pa.RecordBatch.from_pylist([counted], schema=_COUNTED)


def _parse_slices(
    batches: Iterable[pa.RecordBatch], *, broadcast: Broadcast[Ancestors], closure: Closure, output: str
) -> Iterable[pa.RecordBatch]:
    ancestors = broadcast.value
    for row in (row for batch in batches for row in batch.to_pylist()):
        data = read_slice(Slice(row["source"], row["location"], row["start"], row["end"]))
        parsed = parse_lines(
            data, source=row["source"], first_line=row["first_line"], num_classes=ancestors.num_classes
        )
        closed = close_labels(parsed.offsets, parsed.classes, parsed.confidences, ancestors, closure)
        labels = to_label_batch(parsed.keys, row["source"], *closed)
        name = f"part-{row['number']:06d}.parquet"
        for table, batch in (("labels", labels), ("rejects", parsed.rejects)):
            tables.write_part(join(output, table, tables.STAGING, name), pa.Table.from_batches([batch]))
        reasons = pc.value_counts(parsed.rejects.column("reason")).to_pylist()
        summary = {
            "source": row["source"],
            "lines": len(parsed.keys) + parsed.rejects.num_rows,
            "rows": len(parsed.keys),
            "labels_given": len(parsed.classes),
            "labels_closed": len(closed.classes),
            "duplicate_tags": parsed.duplicate_tags,
            "reasons": [reason["values"] for reason in reasons],
            "rejects": [reason["counts"] for reason in reasons],
        }
        yield pa.RecordBatch.from_pylist([summary], schema=_PARSED)


def _sum(parsed: list[dict[str, Any]]) -> Annotated:
    totals: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for piece in parsed:
        totals.update(
            {name: piece[name] for name in ("lines", "rows", "labels_given", "labels_closed", "duplicate_tags")}
        )
        rejects.update(dict(zip(piece["reasons"], piece["rejects"], strict=True)))
        sources[piece["source"]] += piece["rows"]
    assert totals["rows"] + rejects.total() == totals["lines"], "a line was lost"
    return Annotated(**totals, rejects=dict(rejects.most_common()), sources=dict(sorted(sources.items())))
