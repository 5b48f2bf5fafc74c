"""DuckDB, pairs of classes by a self-join of the labels.

    python benchmarks/engines/duckdb_cooccurrence.py LABELS OUTPUT

CPU seconds for a million closed rows, most of them distinct, on two busy cores (DuckDB 2.0.0): self-join over
distinct label lists and their numbers of rows 6.1 (kept), over all rows 7.8; lists unnested twice 6.5; pairs made by
list functions 6.1 to 6.6, with half the memory and twice the wall time.
"""

import os
import sys
from pathlib import Path

import duckdb
from clock import Clock

PAIRS = """WITH labels AS MATERIALIZED (
    SELECT row_number() OVER () AS row, unnest(classes) AS class, rows
    FROM (SELECT classes, count(*) AS rows FROM read_parquet('{labels}/*.parquet') GROUP BY classes))
SELECT a.class AS class_a, b.class AS class_b, sum(a.rows)::BIGINT AS count
FROM labels a JOIN labels b USING (row) WHERE a.class <= b.class GROUP BY ALL"""


def main(labels: str, output: str) -> None:
    clock = Clock()
    con = duckdb.connect()
    con.sql(f"SET threads = {len(os.sched_getaffinity(0))}")
    con.sql("SET preserve_insertion_order = false")
    clock.ready()
    Path(output).mkdir(parents=True)
    query = PAIRS.format(labels=labels)
    con.sql(f"COPY ({query}) TO '{output}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    clock.done()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
