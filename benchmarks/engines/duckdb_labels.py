"""DuckDB, lists to Parquet: `parse` as given, `close` and `join` with the ancestors of every label.

    python benchmarks/engines/duckdb_labels.py parse|close|join OUTPUT VOCABULARY LIST...

CPU seconds for a million rows of `ml-images sample lists` on two busy cores (DuckDB 2.0.0, all with equal output); in
brackets those for rows of which more are distinct. Kept are the fastest of each, and the join, which is how one
writes it first.
parse: two slices of one split list, ordered by list_grade_up 2.8 [2.9] (kept); list_sort of structs 3.4 [3.1];
split_part of each tag 3.3 [3.0]; a regular expression for the split [4.4]; casts of a transformed list [3.5];
read_text, row and list aggregation: 1.5 to 2 times as much.
close: list functions on distinct label texts 4.1 to 4.3 [6.1] (kept), with the list read twice instead of stored 4.0
to 4.6 [6.2]; on every row 6.8 [8.1]; unnest, join, max, regroup on distinct texts 4.9 [6.9] (join on 64-bit keys
[9.4], packed and sorted in the list [7.3]), on every row 9.8 [13.3] (`join`).

A line is one column: no such delimiter occurs in it. Labels are packed into doubles that sort as (class, falling
confidence): 14 + 24 bits and the offset fit into 53, so nothing is rounded.
"""

import os
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
from clock import Clock
from hierarchy import read_pairs

HEAD = "line[:strpos(line, chr(9)) - 1] AS key, filename AS source, line[strpos(line, chr(9)) + 1:] AS text"
NUMBERS = "string_split(replace(text, ':', chr(9)), chr(9))"  # class, confidence, class, confidence, ...
LABELS = f"""SELECT * EXCLUDE s, s[1:-:2]::INT[] AS c, s[2:-:2]::FLOAT[] AS f FROM (SELECT *, {NUMBERS} AS s FROM %s)"""

PARSE = f"""SELECT key, source, list_select(c, o) AS classes, list_select(f, o) AS confidences
FROM (SELECT *, list_grade_up(c) AS o FROM ({LABELS % "lines"}))"""

CLOSE = f"""SELECT text, list_transform(p, lambda x: floor(x / 4)::INT) AS classes,
    list_transform(p, lambda x: (2 - x % 4)::FLOAT) AS confidences
FROM (SELECT text, list_filter(p, lambda x, i: i = 1 OR floor(p[i - 1] / 4) <> floor(x / 4)) AS p
    FROM (SELECT text, list_sort(flatten(list_transform(list_zip(c, f),
            lambda label: list_transform(packed[label[1] + 1], lambda x: x - label[2])))) AS p
        FROM ({LABELS % "(SELECT DISTINCT text FROM rows)"}), lookup))"""

LOOKUP = """SELECT list(packed ORDER BY class) AS packed
FROM (SELECT class, list(ancestor * 4.0::DOUBLE + 2) AS packed FROM pairs GROUP BY class)"""

JOIN = f"""SELECT row, list(c ORDER BY c) AS classes, list(f ORDER BY c) AS confidences
FROM (SELECT row, ancestor AS c, max(f) AS f
    FROM (SELECT row, unnest(c) AS c, unnest(f) AS f FROM ({LABELS % "rows"})) JOIN pairs ON c = class
    GROUP BY row, ancestor)
GROUP BY row"""


def main(what: str, output: str, vocabulary: str, lists: list[str]) -> None:
    clock = Clock()
    con = duckdb.connect()
    con.sql(f"SET threads = {len(os.sched_getaffinity(0))}")
    con.sql("SET preserve_insertion_order = false")
    clock.ready()
    con.sql(f"""CREATE VIEW lines AS SELECT {HEAD} FROM read_csv({lists}, columns={{'line': 'VARCHAR'}}, header=false,
        delim='\x01', quote='', escape='', filename=true, auto_detect=false, max_line_size={4 << 20})""")
    if what != "parse":
        classes, ancestors = read_pairs(vocabulary)
        pairs = pa.table({"class": pa.array(classes, pa.int32()), "ancestor": pa.array(ancestors, pa.int32())})
        con.register("given", pairs)
        con.sql("CREATE TABLE pairs AS SELECT * FROM given")
    if what == "parse":
        query = PARSE
    elif what == "close":
        con.sql(f"CREATE TABLE lookup AS {LOOKUP}")
        con.sql("CREATE TABLE rows AS SELECT * FROM lines")
        con.sql(f"CREATE TABLE closed AS {CLOSE}")
        query = "SELECT key, source, classes, confidences FROM rows JOIN closed USING (text)"
    else:
        con.sql("CREATE TABLE rows AS SELECT row_number() OVER () AS row, * FROM lines")
        query = f"SELECT key, source, classes, confidences FROM rows JOIN ({JOIN}) USING (row)"
    Path(output).mkdir(parents=True)
    con.sql(f"COPY ({query}) TO '{output}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    clock.done()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
