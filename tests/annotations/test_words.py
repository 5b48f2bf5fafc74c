import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.annotations import words

WORDS = st.binary(min_size=8, max_size=8) | st.text("\n\t 019/:\x0b", min_size=8, max_size=8).map(str.encode)
TEXTS = st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"\n\n", b"\x0b\n"])).map(b"".join)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def first(word: bytes, is_wanted) -> int | None:
    return next((place for place, byte in enumerate(word) if is_wanted(byte)), None)


@given(WORDS)
def test_the_first_byte_of_a_kind_is_marked_first(word: bytes) -> None:
    number = np.uint64(words.whole_word(array(b"x" + word), 1))
    assert number == int.from_bytes(word, "little")
    for marks, is_wanted in (
        (words.line_feeds(number), lambda byte: byte == 10),
        (words.spaces(number), lambda byte: byte <= 32),
        (words.other_than_digits(number), lambda byte: not 48 <= byte <= 57),
    ):
        place = first(word, is_wanted)
        assert (place is None) == (marks == 0)
        if place is not None:
            marks = np.uint64(marks)
            assert words.bits_below(marks) == (1 << 8 * place) - 1
            assert words.bytes_in(np.uint64(words.bits_below(marks))) == place


@given(st.text("0123456789", min_size=1, max_size=8), st.binary(min_size=7, max_size=7))
def test_digits_are_a_number_whatever_follows(digits: str, rest: bytes) -> None:
    word = np.uint64(words.whole_word(array((digits.encode() + rest)[:8]), 0))
    assert words.decimal(word, len(digits)) == int(digits)


@given(TEXTS, st.integers(0, 40))
def test_lines_end_where_they_end_and_have_the_hash_of_their_bytes_alone(data: bytes, at: int) -> None:
    at = min(at, len(data))
    end = data.find(b"\n", at) if b"\n" in data[at:] else len(data)
    line = data[at:end]
    assert words.find_line_feed(array(data), at) == end
    found, hash_bits = words.hash_line(array(data), at)
    assert found == end
    for other in (line, line + b"\nx", line + b"\n" + b"y" * 20, b"z" * 9 + line):
        start = len(other) - len(line) if other.startswith(b"z") else 0
        assert words.hash_line(array(other), start) == (start + len(line), hash_bits)


def test_lines_that_differ_in_one_byte_have_different_hashes() -> None:
    lines = [b"a" * at + b"b" + b"a" * (20 - at) for at in range(21)]
    hashes = {int(words.hash_line(array(line), 0)[1]) for line in [*lines, b"a" * 21, b"a" * 22, b"a" * 8, b"a" * 9]}
    assert len(hashes) == 25


@given(st.binary(max_size=30), st.binary(max_size=5), st.integers(0, 29), st.integers(1, 255))
def test_bytes_are_the_same_or_not(text: bytes, before: bytes, at: int, change: int) -> None:
    changed = bytes(byte ^ change if place == at else byte for place, byte in enumerate(text))
    data = array(before + text + text + changed)
    one, other, third = (len(before) + k * len(text) for k in range(3))
    assert words.same_bytes(data, one, other, len(text))
    assert words.same_bytes(data, one, third, len(text)) == (at >= len(text))


@given(st.binary(max_size=30), st.integers(0, 5), st.integers(0, 5))
def test_bytes_are_copied_and_none_beside_them(text: bytes, before: int, at: int) -> None:
    out = np.full(40, 7, np.uint8)
    words.copy_bytes(array(b"x" * before + text + b"x"), before, before + len(text), out, at)
    assert out.tobytes() == b"\7" * at + text + b"\7" * (40 - at - len(text))
