import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.storage.label_parquet import encodings


def unpack(run: bytes, width: int) -> list[int]:
    """The numbers of one run of packed bits and its padding, by the letter of the specification."""
    header, size = 0, 0
    while True:
        header |= (run[size] & 0x7F) << 7 * size
        size += 1
        if not run[size - 1] & 0x80:
            break
    assert header & 1, "not a run of packed bits"
    assert len(run) - size == (header >> 1) * width
    bits = int.from_bytes(run[size:], "little")
    return [bits >> i * width & (1 << width) - 1 for i in range((header >> 1) * 8)]


@given(st.data(), st.integers(1, 32), st.integers(0, 70))
def test_packed_numbers_of_every_width_come_back(data: st.DataObject, width: int, count: int) -> None:
    numbers = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=count, max_size=count))
    unpacked = unpack(encodings.packed(np.array(numbers, np.uint32), width), width)
    assert unpacked == numbers + [0] * (-count % 8)


def test_the_example_of_the_specification() -> None:
    assert encodings.packed(np.arange(8, dtype=np.uint32), 3).hex() == "03" + "88c6fa"
    assert encodings.repeated(4, 100, 3).hex() == "c801" + "04"
    assert encodings.repeated(0x1FF, 1, 9).hex() == "02" + "ff01"


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 5))
def test_levels_tell_where_rows_begin_and_which_are_empty(sizes: list[int], before: int) -> None:
    positions = before + np.cumsum([0, *(max(1, size) for size in sizes)])
    levels = [(int(k > 0), 2 * (size > 0)) for size in sizes for k in range(max(1, size))]
    repetitions = unpack(encodings.repetitions(positions), 1)[: len(levels)]
    definitions = encodings.definitions(positions, np.array(sizes))
    assert repetitions == [repetition for repetition, _ in levels]
    if all(sizes):
        assert definitions == encodings.repeated(2, sum(sizes), 2)
    else:
        assert unpack(definitions, 2)[: len(levels)] == [definition for _, definition in levels]


@given(st.lists(st.binary(max_size=9), max_size=20), st.integers(0, 3))
def test_strings_stand_behind_their_length(texts: list[bytes], before: int) -> None:
    offsets = (before + np.cumsum([0, *map(len, texts)])).astype(np.int32)
    data = np.frombuffer(b"x" * before + b"".join(texts), np.uint8)
    expected = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    assert encodings.strings(offsets, data).tobytes() == expected


@given(st.lists(st.integers(0, 300), min_size=1, max_size=50))
def test_numbers_are_indices_into_the_distinct_ones(numbers: list[int]) -> None:
    array = np.array(numbers, np.int32)
    values, indices = encodings.distinct_numbers(array)
    assert values.tolist() == sorted(set(numbers))
    assert values[encodings.look_up(array, indices)].tolist() == numbers


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_places_of_lists_that_may_be_empty_and_in_any_order(lists: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in lists], np.int64)
    found = encodings.places(starts, starts + [size for _, size in lists])
    assert found.tolist() == [place for start, size in lists for place in range(start, start + size)]


@given(st.lists(st.integers(0, 400), min_size=1), st.integers(0, 2**32 - 1))
def test_floats_are_indices_into_the_distinct_bits(picks: list[int], seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2**32, 401, dtype=np.uint32)[picks]
    values, indices = encodings.distinct_floats(bits) or ((), ())
    assert len(set(values)) == len(values) == len(set(bits.tolist()))
    assert values[indices].tolist() == bits.tolist()


@pytest.mark.parametrize(("count", "expected"), [(encodings.MOST_FLOATS, True), (encodings.MOST_FLOATS + 1, False)])
def test_floats_of_more_values_than_fit_in_a_byte_get_no_dictionary(count: int, expected: bool) -> None:
    bits = np.tile(np.linspace(0, 1, count, dtype=np.float32), 2).view(np.uint32)
    assert (encodings.distinct_floats(bits) is not None) == expected


def test_the_two_zeros_stay_apart() -> None:
    values, indices = encodings.distinct_floats(np.array([0.0, -0.0, 0.0], np.float32).view(np.uint32)) or ((), ())
    assert (values.tolist(), indices.tolist()) == ([0, 1 << 31], [0, 1, 0])
