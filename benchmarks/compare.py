"""Are two outputs the same rows, in any order? Fails with what differs.

    python benchmarks/compare.py labels|pairs OURS THEIRS         two folders of Parquet files

labels: an order-free digest of (key, classes, confidences): the 64-bit hashes of all rows added up, with the numbers of
rows and labels. Memory does not grow with the rows; two tables that differ have the same digest once in 2^64.
pairs: the co-occurrence tables row by row.
"""

import sys
from dataclasses import dataclass

import duckdb

COLUMNS = {
    "labels": {"key": "VARCHAR", "classes": "INTEGER[]", "confidences": "FLOAT[]"},
    "pairs": {"class_a": "INTEGER", "class_b": "INTEGER", "count": "BIGINT"},
}
_SHOWN = 5


class Different(Exception):
    """The outputs of two engines differ; the message says in what."""


@dataclass(frozen=True)
class Digest:
    """Of a labels table; equal for equal rows in any order."""

    rows: int
    labels: int
    hashes: int  # sum of the hashes of the rows


def digest(labels: str) -> Digest:
    """The digest of the Parquet files in a folder. Raises Different where a column is missing or of another type."""
    with duckdb.connect() as con:
        rows = _rows(con, "labels", labels)
        query = f"SELECT count(*), sum(len(classes)), sum(hash(key, classes, confidences)::HUGEINT) FROM {rows}"
        num_rows, labels, hashes = con.sql(query).fetchall()[0]
        return Digest(int(num_rows), int(labels or 0), int(hashes or 0))


def compare_labels(ours: str, theirs: str, ours_digest: Digest | None = None) -> None:
    """Raises Different, naming some rows of each side, unless both folders hold the same rows."""
    first, second = ours_digest or digest(ours), digest(theirs)
    if first != second:
        raise Different(f"{theirs} is not {ours}: {second} instead of {first}{_examples('labels', ours, theirs)}")


def compare_pairs(ours: str, theirs: str) -> None:
    """Raises Different, naming some rows of each side, unless both folders hold the same rows."""
    told = _examples("pairs", ours, theirs)
    if told:
        raise Different(f"{theirs} is not {ours}:{told}")


def _examples(kind: str, ours: str, theirs: str) -> str:
    """Some rows that are on one side only, as lines; empty where there is none."""
    told = []
    with duckdb.connect() as con:
        sides = {"ours": _rows(con, kind, ours), "theirs": _rows(con, kind, theirs)}
        for side, other in (("ours", "theirs"), ("theirs", "ours")):
            query = f"SELECT * FROM {sides[side]} EXCEPT ALL SELECT * FROM {sides[other]} LIMIT {_SHOWN}"
            told += [f"\n  only in {side}: {row}" for row in con.sql(query).fetchall()]
    return "".join(told)


def _rows(con: duckdb.DuckDBPyConnection, kind: str, folder: str) -> str:
    """The contract's columns of a table as a subquery."""
    source = f"read_parquet('{folder}/*.parquet')"
    found = dict(con.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {source})").fetchall())
    for column, kind_of_column in COLUMNS[kind].items():
        if found.get(column) != kind_of_column:
            raise Different(f"{folder}: column {column} is {found.get(column, 'missing')}, not {kind_of_column}")
    return f"(SELECT {', '.join(COLUMNS[kind])} FROM {source})"


def main(kind: str, ours: str, theirs: str) -> int:
    try:
        {"labels": compare_labels, "pairs": compare_pairs}[kind](ours, theirs)
    except Different as error:
        print(error, file=sys.stderr)
        return 1
    print("the same rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
