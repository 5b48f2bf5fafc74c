import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ml_images.annotations.keys import hash_keys, hash_lines

KEYS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\t "), min_size=1, max_size=40)


def of_text(text: bytes) -> tuple[list[int], int]:
    hashes, lines = hash_lines(np.frombuffer(text, np.uint8))
    return hashes.tolist(), lines


@given(st.lists(KEYS))
def test_a_key_has_the_same_hash_in_a_line_and_in_a_column(keys):
    hashes, lines = of_text("".join(f"{key}\t1:0.5  2\n" for key in keys).encode())
    assert lines == len(keys)
    assert hashes == hash_keys(pa.array(keys, pa.string())).tolist()


@given(st.lists(KEYS, unique=True))
def test_different_keys_have_different_hashes(keys):
    assert len(set(hash_keys(pa.array(keys, pa.string())).tolist())) == len(keys)


def test_keys_that_differ_in_length_or_one_byte_alone():
    keys = ["a", "a\0", "a" * 8, "a" * 9, "a" * 16, "b" + "a" * 15, "a" * 15 + "b"]
    assert len(set(hash_keys(pa.array(keys)).tolist())) == len(keys)


def test_the_url_is_the_key_where_an_id_comes_first():
    assert of_text(b"n03874293_7679 http://a/b 7\n")[0] == of_text(b"http://a/b\t7")[0]


def test_lines_without_a_key_count_as_lines_only():
    hashes, lines = of_text(b"\n \t\r\nk 1\r\n\nlast")
    assert (len(hashes), lines) == (2, 5)
    assert of_text(b"") == ([], 0)
