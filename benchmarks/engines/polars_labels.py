"""Polars (streaming engine), lists to Parquet: `parse` as given, `close` and `join` with the ancestors of every label.

    python benchmarks/engines/polars_labels.py parse|close|join OUTPUT VOCABULARY LIST...

CPU seconds for a million rows of `ml-images sample lists` on two busy cores (Polars 2.1.0, all with equal output); in
brackets those for rows of which more are distinct. Kept are the fastest of each, and the join, which is how one
writes it first.
parse: one split of the line, one struct a tag, labels packed into integers and sorted 1.9 [2.0] (kept); arg_sort and
gather instead 2.1 [1.8]; key and rest split first 2.1 [2.0]; sort and sort_by of the fields [2.2]; each field split
from the tag by itself [2.6]; structs sorted [5.0]; explode and regroup twice as much; scan_lines instead of a CSV of
one column [3.1 against 2.6].
close: distinct label texts, maximum by a packed 64-bit key, sorted by it and regrouped 3.3 [4.3] (kept); the same by
two columns 4.1 [6.3 to 7.0]; lists packed, sorted and filtered [6.3]; filtered within the aggregation [18.8]; on
every row by the packed key 8.5 [10.6] (`join`), by two columns 9.6 [12 to 13].
"""

import os
import sys
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = str(len(os.sched_getaffinity(0)))  # read when polars is imported

import polars as pl
from clock import Clock
from hierarchy import read_pairs

PACKED = 1 << 32  # a label is class * PACKED + the bits of its confidence
CLASSES = 1 << 14  # the key of a closed label is row * CLASSES + class


def lines(lists: list[str]) -> pl.LazyFrame:
    """(source, line): a CSV of one column, for no such separator occurs in a line."""
    return pl.scan_csv(
        lists,
        has_header=False,
        separator="\x01",
        quote_char=None,
        schema={"line": pl.String},
        include_file_paths="source",
    )


def parse(lists: list[str]) -> pl.LazyFrame:
    part = pl.element().struct
    fields = lines(lists).select(pl.col("line").str.split("\t"), "source")
    tags = fields.select(pl.col("line").list.first().alias("key"), "source", pl.col("line").list.slice(1).alias("tags"))
    split = tags.with_columns(pl.col("tags").list.eval(pl.element().str.split_exact(":", 1)))
    bits = part.field("field_1").cast(pl.Float32).reinterpret(dtype=pl.UInt32).cast(pl.Int64)
    packed = part.field("field_0").cast(pl.Int64) * PACKED + bits
    return split.with_columns(pl.col("tags").list.eval(packed).list.sort()).select(
        "key",
        "source",
        pl.col("tags").list.eval((pl.element() // PACKED).cast(pl.Int32)).alias("classes"),
        pl.col("tags")
        .list.eval((pl.element() % PACKED).cast(pl.UInt32).reinterpret(dtype=pl.Float32))
        .alias("confidences"),
    )


def close(lists: list[str], vocabulary: str, distinct: bool) -> pl.LazyFrame:
    """`distinct`: close every label text once; otherwise every row."""
    rows = lines(lists).select(pl.col("line").str.splitn("\t", 2), "source")
    part = pl.col("line").struct
    rows = rows.select(part.field("field_0").alias("key"), "source", part.field("field_1").alias("text"))
    if distinct:
        texts = rows.select("text").unique().with_row_index("row")
    else:
        texts = rows = rows.with_row_index("row")
    texts = texts.with_columns(pl.col("row").cast(pl.Int64))
    tag = pl.col("tag").struct
    labels = texts.select("row", pl.col("text").str.split("\t").alias("tag")).explode("tag")
    labels = labels.with_columns(pl.col("tag").str.split_exact(":", 1)).select(
        "row",
        tag.field("field_0").cast(pl.Int32).alias("class"),
        tag.field("field_1").cast(pl.Float32).alias("confidence"),
    )
    classes, ancestors = read_pairs(vocabulary)
    pairs = pl.LazyFrame({"class": classes, "ancestor": ancestors}, schema={"class": pl.Int32, "ancestor": pl.Int32})
    key = pl.col("key")
    closed = (
        labels.join(pairs, on="class")
        .select((pl.col("row") * CLASSES + pl.col("ancestor")).alias("key"), "confidence")
        .group_by("key")
        .agg(pl.col("confidence").max())
        .sort("key")
        .group_by((key // CLASSES).alias("row"), maintain_order=True)
        .agg((key % CLASSES).cast(pl.Int32).alias("classes"), pl.col("confidence").alias("confidences"))
    )
    if distinct:
        closed = texts.join(closed, on="row").drop("row")
        return rows.join(closed, on="text").select("key", "source", "classes", "confidences")
    return texts.join(closed, on="row").select("key", "source", "classes", "confidences")


def main(what: str, output: str, vocabulary: str, lists: list[str]) -> None:
    clock = Clock()
    clock.ready()
    frame = parse(lists) if what == "parse" else close(lists, vocabulary, distinct=what == "close")
    Path(output).mkdir(parents=True)
    frame.sink_parquet(f"{output}/part.parquet", compression="zstd", compression_level=1, engine="streaming")
    clock.done()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
