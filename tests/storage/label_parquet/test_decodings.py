from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.storage.label_parquet.decodings import decode, row_starts, words_of
from ml_images.storage.label_parquet.encodings import frozen, packed, repeated, repetitions

WIDTHS = st.integers(1, 20)


@st.composite
def hybrids(draw: Any) -> tuple[int, bytes, list[int]]:
    """(width in bits, some runs of it, what they say)"""
    width = draw(WIDTHS)
    numbers = st.integers(0, (1 << width) - 1)
    content, said = b"", list[int]()
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            count, number = draw(st.integers(1, 300)), draw(numbers)
            content, said = content + repeated(number, count, width), said + [number] * count
        else:  # whole groups, as only the last run may end amid one
            run = draw(st.lists(numbers, min_size=8, max_size=40).map(lambda run: run[: len(run) // 8 * 8]))
            content, said = content + packed(np.array(run, np.uint32), width), said + run
    return width, content, said


def decoded(content: bytes, width: int, count: int, entries: int, before: int = 0) -> list[int] | None:
    """The indices, each entry of the dictionary being a thousand and its own index."""
    dictionary = frozen(np.arange(1000, 1000 + entries, dtype=np.int32))
    out = np.full(count + 1, -1, np.int32)
    words = words_of(b"\xff" * before + content)
    if not decode(words, before, before + len(content), width, dictionary, out[:count]):
        return None
    assert out[count] == -1
    return [int(entry) - 1000 for entry in out[:count]]


@given(hybrids(), st.integers(0, 9), st.data())
def test_runs_say_what_was_written(hybrid: tuple[int, bytes, list[int]], before: int, data: Any) -> None:
    width, content, said = hybrid
    count = data.draw(st.integers(0, len(said)))  # the last group is filled up with zeros
    assert decoded(content, width, count, 1 << width, before) == said[:count]


@given(hybrids(), st.data())
def test_too_few_bytes_and_unknown_indices_are_found(hybrid: tuple[int, bytes, list[int]], data: Any) -> None:
    width, content, said = hybrid
    assert decoded(content[: data.draw(st.integers(0, len(content) - 1))], width, len(said), 1 << width) is None
    if max(said):
        assert decoded(content, width, len(said), max(said)) is None


def test_a_run_of_nothing_ends_the_reading() -> None:
    assert decoded(repeated(1, 0, 3), 3, 1, 8) is None
    assert decoded(b"\x01", 3, 1, 8) is None  # packed, no group


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.uint8])
def test_entries_of_any_type_are_looked_up(dtype: Any) -> None:
    out = np.empty(3, dtype)
    assert decode(words_of(packed(np.array([2, 0, 1], np.uint32), 2)), 0, 3, 2, frozen(np.array([5, 6, 7], dtype)), out)
    assert out.tolist() == [7, 5, 6]


@given(st.lists(st.integers(1, 70), max_size=40), st.integers(0, 9))
def test_rows_begin_where_they_were_written_to(sizes: list[int], before: int) -> None:
    positions = np.cumsum([0, *sizes])
    levels = repetitions(positions)
    head = next(i for i, byte in enumerate(levels) if byte < 128) + 1
    words = words_of(b"\0" * before + levels)
    assert row_starts(words, before + head, int(positions[-1])).tolist() == positions.tolist()


def test_no_index_is_looked_up_in_nothing() -> None:
    assert decoded(packed(np.zeros(8, np.uint32), 2), 2, 8, 0) is None
    assert decoded(repeated(0, 8, 2), 2, 8, 0) is None
    assert decoded(b"", 2, 0, 0) == []


@pytest.mark.parametrize("width", [0, 33, 255])
def test_a_width_that_no_index_has_is_found(width: int) -> None:
    assert decoded(b"\x03" + b"\0" * 500, width, 8, 1) is None
