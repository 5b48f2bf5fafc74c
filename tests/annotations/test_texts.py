import numpy as np
import pytest

from ml_images.annotations.texts import empty_slots, find_text, put_text

HASH = np.uint64(0xFFFF)


def block(*texts: bytes) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The texts as lines, and where each begins and ends."""
    ends = np.cumsum([len(text) + 1 for text in texts])
    places = [(int(end) - 1 - len(text), int(end) - 1) for text, end in zip(texts, ends, strict=True)]
    return np.frombuffer(b"\n".join(texts), np.uint8), places  # the last one lacks its line feed


@pytest.mark.parametrize(
    "other", [b"1:1\t2:0.9\t30:1 ", b"1:1\t2:0.9\t30:2", b"1:1\t2:0.8\t30:1", b"1:1\t2:0.9\t30:", b"1"]
)
def test_texts_of_the_same_hash_are_told_apart(other: bytes) -> None:
    text = b"1:1\t2:0.9\t30:1"
    data, places = block(text, other, text, other)
    slots = empty_slots(8)
    for number, place in enumerate(places[:2]):
        slot, found = find_text(data, slots, *place, HASH)
        assert found == -1
        put_text(slots, slot, place[0], number)
    assert [find_text(data, slots, *place, HASH)[1] for place in places] == [0, 1, 0, 1]


def test_a_search_goes_on_at_the_first_slot_after_the_last() -> None:
    data, places = block(b"1", b"2", b"3")
    slots = empty_slots(4)
    for number, place in enumerate(places[:2]):
        put_text(slots, find_text(data, slots, *place, np.uint64(3))[0], place[0], number)
    assert slots.astype(bool).tolist() == [True, False, False, True]
    assert find_text(data, slots, *places[1], np.uint64(3))[1] == 1
    assert find_text(data, slots, *places[2], np.uint64(3)) == (1, -1)


def test_the_largest_places_and_numbers_fit() -> None:
    slots = empty_slots(1)
    put_text(slots, np.uint64(0), (1 << 31) - 1, (1 << 29) - 1)
    assert slots.tolist() == [((1 << 31) - 1) << 32 | 1 << 29]
