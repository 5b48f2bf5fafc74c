import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.storage.label_parquet import columns
from ml_images.storage.label_parquet.reader import is_ours, read_label_pages
from ml_images.storage.label_parquet.writer import LabelWriter

CONFIDENCES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0]) | st.floats(0, 1, width=32)
LISTS = st.dictionaries(
    st.integers(0, 40) | st.integers(0, 70_000), st.tuples(CONFIDENCES, st.integers(0, 4)), max_size=12
).map(lambda labels: [(c, *labels[c]) for c in sorted(labels)])
PRESENT = "present"
ROWS = st.lists(st.tuples(st.sampled_from(["a.txt", "b/ü.txt", ""]), LISTS), max_size=20)


def part(groups, page_levels=1 << 18):
    """The bytes of a part with these row groups: (source, [(class, confidence, origin)]) each."""
    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, pa.PythonFile(stream, "w") as file:
        patch.setattr(columns, "PAGE_LEVELS", page_levels)
        writer = LabelWriter(file)
        for rows in groups:
            flat = [label for _, labels in rows for label in labels]
            writer.write_rows(
                pa.array(["k"] * len(rows), pa.string()),
                pa.array([source for source, _ in rows], pa.string()),
                np.cumsum([0, *(len(labels) for _, labels in rows)]),
                np.array([c for c, _, _ in flat], np.int32),
                np.array([confidence for _, confidence, _ in flat], np.float32),
                np.array([origin for _, _, origin in flat], np.int8),
            )
        writer.finish()
        return stream.getvalue()


def read(content):
    """The rows, each as `part` gets it, and how many pages they came in."""
    rows, pages = [], 0
    file = pa.BufferReader(content)
    for sources, offsets, *lists in read_label_pages(file, pq.ParquetFile(file, read_dictionary=["source"])):
        pages += 1
        classes, confidences, origins = (values.tolist() for values in lists)
        labels = list(zip(classes, confidences or [PRESENT] * len(classes), origins, strict=True))
        assert len(sources) == len(offsets) - 1 and offsets[0] == 0 and offsets[-1] == len(labels)
        for source, start, end in zip(sources.to_pylist(), offsets[:-1], offsets[1:], strict=True):
            rows.append((source, labels[start:end]))
    return rows, pages


def as_counted(group):
    """The rows of a group as they are read: without confidences where all its labels are present."""
    if any(confidence <= 0 for _, labels in group for _, confidence, _ in labels):
        return group
    return [(source, [(c, PRESENT, origin) for c, _, origin in labels]) for source, labels in group]


@given(st.lists(ROWS, max_size=3), st.sampled_from([1, 7, 1 << 18]))
def test_whatever_the_writer_wrote_is_read(groups, page_levels):
    rows, _ = read(part(groups, page_levels))
    assert rows == [row for group in groups for row in as_counted(group)]


def test_confidences_are_read_where_a_label_of_the_row_group_is_not_present():
    some = [("a", [(1, 0.5, 0), (2, 0.25, 1)]), ("a", [(3, 0.75, 0)])]
    other = [("a", [(1, 0.5, 0), (2, -1.0, 1)]), ("a", [(3, 0.0, 0)])]
    rows, _ = read(part([some, other]))
    assert rows == [("a", [(1, PRESENT, 0), (2, PRESENT, 1)]), ("a", [(3, PRESENT, 0)]), *other]


def test_confidences_of_more_values_than_have_a_dictionary_are_read():
    group = [("a", [(c, np.float32((c * i % 9973) / 9973).item(), c % 3) for c in range(i % 13)]) for i in range(2000)]
    assert read(part([group], page_levels=1000)) == (group, 13)


def test_a_page_at_a_time_is_read():
    group = [("a", [(c, 1.0, 0) for c in range(10)])] * 20
    assert read(part([group, group], page_levels=100)) == (as_counted(group) * 2, 4)


def test_parts_of_others_are_told_from_ours():
    stream = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), stream)
    assert not is_ours(pq.ParquetFile(stream))
    assert is_ours(pq.ParquetFile(pa.BufferReader(part([[("a", [(1, 1.0, 0)])]]))))


def test_of_a_damaged_part_nothing_is_made_up_silently_and_nothing_crashes():
    """One byte wrong: an error, or rows of other values; an error is one of those that stop a job with its story."""
    group = [("a", [(c, c / 20, c % 3) for c in range(i % 13)]) for i in range(300)]  # class 0 is absent: all is read
    content = part([group], page_levels=500)
    chance, refused = random.Random(1), 0
    with pq.ParquetFile(pa.BufferReader(content)) as opened:
        start = opened.metadata.row_group(0).column(2).dictionary_page_offset
        last = opened.metadata.row_group(0).column(4)
        end = last.dictionary_page_offset + last.total_compressed_size
    for _ in range(500):
        wrong = bytearray(content)
        wrong[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
        try:
            rows, _ = read(bytes(wrong))
        except (OSError, ValueError, IndexError):
            refused += 1
        else:
            assert len(rows) == len(group)
    assert refused > 250
