import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from ml_images.report.contents import Reject
from ml_images.report.rejects import count_rejects, merge_rejects
from ml_images.schemas import REJECTS

lines = st.lists(
    st.tuples(
        st.sampled_from(["a.txt", "b.txt"]),
        st.integers(1, 5),
        st.sampled_from(["no_labels", "bad_class", "too_long"]),
    ),
    max_size=12,
)


def expected(rows):
    """The same, one line at a time."""
    found = []
    for reason in {row[2] for row in rows}:
        same = [(source, line) for source, line, why in rows if why == reason]
        source, line = min(same)
        found.append(Reject(reason, len(same), source, line, f"{source}:{line}"))
    return tuple(sorted(found, key=lambda reject: (-reject.count, reject.reason)))


def write(place, rows):
    table = [{"source": s, "line": n, "text": f"{s}:{n}", "reason": why, "raw": None} for s, n, why in rows]
    pq.write_table(pa.Table.from_pylist(table, schema=REJECTS), place)


@given(lines, lines)
def test_each_reason_is_counted_and_shows_its_first_line(a, b):
    with tempfile.TemporaryDirectory() as folder:
        places = [f"{folder}/a.parquet", f"{folder}/b.parquet"]
        for place, rows in zip(places, (a, b), strict=True):
            write(place, rows)
        assert count_rejects(places) == expected(a + b)
        assert merge_rejects(count_rejects(places[:1]) + count_rejects(places[1:])) == expected(a + b)
        assert merge_rejects(count_rejects(places[1:]) + count_rejects(places[:1])) == expected(a + b)


def test_no_part_has_no_reject():
    assert count_rejects([]) == ()
