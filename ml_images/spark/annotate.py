"""Annotation lists in, the tables `labels` and `rejects` out; a line becomes a label row, a part of one, or a reject.

Lists are cut into slices of whole lines. A first pass counts the lines of each slice and finds the keys that stand in
several rows (spark/repeated_keys.py). The second parses, closes and writes the two parts of its slice, and sets the
rows of such keys aside; a third brings those together (spark/duplicates.py), where there are any.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.broadcast import Broadcast
from pyspark.sql import SparkSession

from ml_images.annotations import reasons
from ml_images.annotations.duplicates import Duplicates
from ml_images.annotations.keys import hash_keys
from ml_images.annotations.rows import parse_lines
from ml_images.errors import InputError
from ml_images.spark import work
from ml_images.spark.duplicates import resolve, set_aside
from ml_images.spark.label_parts import Closing, LabelParts
from ml_images.spark.repeated_keys import SLICE, SLICES_AT_ONCE, RepeatedKeys, scan_lists
from ml_images.storage import tables
from ml_images.storage.lines import Slice, codec_of, plan_slices, read_blocks
from ml_images.storage.paths import join

Closure = Literal["closed_max", "none", "leaf_only", "as_released"]
Negatives = Literal["none", "human_wins", "unknown", "closure_wins"]

SLICE_BYTES = 64 << 20  # about 600,000 rows, four blocks of lines: a part of 10 to 20 MB with as many row groups
_EXPANSION = 8  # a list of URLs and tags shrinks to a quarter or a sixth under gzip and zstd

_PLACED = pa.schema([*SLICE, pa.field("first_line", pa.int64())])
_PARSED = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("lines", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("set_aside", pa.int64()),
        pa.field("labels_given", pa.int64()),
        pa.field("labels_closed", pa.int64()),
        pa.field("conflicts", pa.int64()),
        pa.field("duplicate_tags", pa.int64()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("rejects", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class Annotated:
    """What happened to the lines: rows + merged + rejects = lines."""

    lines: int
    rows: int
    merged: int  # lines that are part of another's row, as their key is the same
    labels_given: int
    labels_closed: int
    conflicts: int
    duplicate_tags: int
    repeated: int  # labels given that merging rows of one key dropped
    labels_rejected: int  # labels given of rows rejected as their key came before
    rejects: dict[str, int]  # by reason
    sources: dict[str, int]  # label rows by source


def annotate(
    spark: SparkSession,
    files: list[tuple[str, int]],
    closing: Closing,
    duplicates: Duplicates,
    output: str,
) -> Annotated:
    """Parse and close the lists `files` ((location, bytes) pairs); stages the tables `closing.tables` in `output`."""
    slices = plan_slices([(source, size) for source, size in files if size], SLICE_BYTES)
    for table in closing.tables:
        tables.claim(join(output, table), table)
        tables.clear_staging(join(output, table))
    staging = join(output, "labels", tables.STAGING)
    list_bytes = sum(size * (_EXPANSION if codec_of(source) else 1) for source, size in files)
    first_lines, repeated = scan_lists(spark, slices, list_bytes, staging)
    rows = [
        {"number": number, **asdict(piece), "first_line": first}
        for number, (piece, first) in enumerate(zip(slices, first_lines, strict=True))
    ]
    broadcast = spark.sparkContext.broadcast(closing)
    parse = partial(_parse_slices, closing=broadcast, repeated=repeated, output=output)
    parsed = work.run(work.units(spark, rows, _PLACED, at_once=SLICES_AT_ONCE), parse, _PARSED, "annotate")
    resolved = []
    if repeated.buckets:
        resolved = resolve(spark, staging, repeated.buckets, len(slices), broadcast, duplicates, output)
    for table in closing.tables:
        tables.require_staged(join(output, table), len(slices) + len(resolved))
    done = _sum(parsed, resolved)
    if not done.lines:
        raise InputError(f"the annotation lists hold no line: {', '.join(source for source, _ in files)}")
    return done


def _parse_slices(
    batches: Iterable[pa.RecordBatch], *, closing: Broadcast[Closing], repeated: RepeatedKeys, output: str
) -> Iterable[pa.RecordBatch]:
    for row in (row for batch in batches for row in batch.to_pylist()):
        yield pa.RecordBatch.from_pylist([_parse_slice(row, closing.value, repeated, output)], schema=_PARSED)


def _parse_slice(row: dict[str, Any], closing: Closing, repeated: RepeatedKeys, output: str) -> dict[str, Any]:
    number, source, line = row["number"], row["source"], row["first_line"]
    done = {"source": source, "lines": 0, "set_aside": 0, "labels_given": 0, "duplicate_tags": 0}
    why: Counter[str] = Counter()
    with LabelParts(output, number, closing) as parts:
        for block in read_blocks(Slice(source, row["location"], row["start"], row["end"])):
            parsed = parse_lines(block, source=source, first_line=line, num_classes=closing.ancestors.num_classes)
            parts.reject(parsed.rejects)
            why.update(
                {item["values"]: item["counts"] for item in pc.value_counts(parsed.rejects["reason"]).to_pylist()}
            )
            done["labels_given"] += parsed.num_labels
            done["duplicate_tags"] += parsed.duplicate_tags
            done["lines"] += parsed.num_lines
            bucket = repeated.bucket_of_rows(hash_keys(parsed.keys)) if repeated.buckets else None
            if bucket is not None and (bucket >= 0).any():
                set_aside(repeated.folder, number, source, block, line, parsed, bucket)
                done["set_aside"] += int((bucket >= 0).sum())
                rows = np.flatnonzero(bucket < 0)
                keys, sets = parsed.keys.take(pa.array(rows)), parsed.sets[rows]
            else:
                keys, sets = parsed.keys, parsed.sets
            parts.add(keys, source, sets, parsed.offsets, parsed.classes, parsed.confidences, parsed.absent)
            line += parsed.num_lines
    return {
        **done,
        "rows": parts.rows,
        "labels_closed": parts.labels_closed,
        "conflicts": parts.conflicts,
        "reasons": list(why),
        "rejects": list(why.values()),
    }


def _sum(parsed: list[dict[str, Any]], resolved: list[dict[str, Any]]) -> Annotated:
    totals: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for piece in parsed:
        rejects.update(dict(zip(piece["reasons"], piece["rejects"], strict=True)))
        sources[piece["source"]] += piece["rows"]
    for bucket in resolved:
        if bucket["rejected"]:
            rejects[reasons.DUPLICATE_KEY] += bucket["rejected"]
        sources.update(dict(zip(bucket["sources"], bucket["source_rows"], strict=True)))
    for done in (*parsed, *resolved):
        totals.update({name: value for name, value in done.items() if isinstance(value, int)})
    assert totals["rows"] + totals["merged"] + rejects.total() == totals["lines"], "a line was lost"
    brought_together = sum(bucket["rows"] + bucket["merged"] + bucket["rejected"] for bucket in resolved)
    assert brought_together == totals["set_aside"], "a row that was set aside was lost"
    return Annotated(
        **{count: totals[count] for count in _TOTALS},
        rejects=dict(rejects.most_common()),
        sources=dict(sorted(sources.items())),
    )


_TOTALS = (
    "lines",
    "rows",
    "merged",
    "labels_given",
    "labels_closed",
    "conflicts",
    "duplicate_tags",
    "repeated",
    "labels_rejected",
)
