import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.example import decode_example, encode_example
from ml_images.interchange.protobuf import BrokenMessage, field

# {"a": int64 [1, -1], "b": bytes "xy", "c": float [1.5]} as TensorFlow's own library writes it, by hand.
MESSAGE = bytes.fromhex(
    "0a32"
    "0a14" + "0a0161" + "120f" + "1a0d" + "0a0b" + "01" + "ffffffffffffffffff01"
    "0a0b" + "0a0162" + "1206" + "0a04" + "0a02" + "7879"
    "0a0d" + "0a0163" + "1208" + "1206" + "0a04" + "0000c03f"
)  # fmt: skip
FEATURES = {"a": np.array([1, -1]), "b": b"xy", "c": np.array([1.5], np.float32)}


def test_a_message_of_all_three_kinds() -> None:
    data = encode_example(FEATURES)
    assert data == MESSAGE
    decoded = decode_example(data)
    assert list(decoded) == ["a", "b", "c"]
    assert decoded["a"].tolist() == [1, -1] and decoded["a"].dtype == np.int64
    assert decoded["b"] == [b"xy"]
    assert decoded["c"].tolist() == [1.5] and decoded["c"].dtype == np.float32


def test_numbers_need_not_be_packed_and_the_last_of_a_name_counts() -> None:
    ints = field(3, b"\x08\x05\x08\x96\x01")
    floats = field(2, b"\x0d\x00\x00\xc0\x3f\x0d\x00\x00\x00\x00")
    entries = [field(1, field(1, b"n") + field(2, kind)) for kind in (floats, ints)]
    entries.append(field(1, field(1, b"f") + field(2, floats)))
    decoded = decode_example(field(1, b"".join(entries)))
    assert decoded["n"].tolist() == [5, 150]
    assert decoded["f"].tolist() == [1.5, 0.0]
    assert decode_example(field(1, field(1, field(1, b"empty")))) == {"empty": []}
    assert decode_example(b"") == {}


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats(width=32, allow_nan=False)),
    st.binary(),
    st.text(),
)
def test_features_come_back(ints: list[int], floats: list[float], data: bytes, name: str) -> None:
    numbers, real = np.array(ints, np.int64), np.array(floats, np.float32)
    decoded = decode_example(encode_example({name: data, name + "i": numbers, name + "f": real}))
    assert decoded[name] == [data]
    assert np.array_equal(decoded[name + "i"], numbers) and np.array_equal(decoded[name + "f"], real)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode_example(data)
    except BrokenMessage as error:
        assert "\n" not in str(error)


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255))
def test_a_changed_message_is_one_or_refused(at: int, byte: int) -> None:
    data = bytearray(encode_example(FEATURES))
    data[at] = byte
    try:
        decode_example(bytes(data))
    except BrokenMessage as error:
        assert "\n" not in str(error)


def test_broken_floats_are_refused() -> None:
    with pytest.raises(BrokenMessage, match="floats of 3 bytes"):
        decode_example(field(1, field(1, field(2, field(2, field(1, b"abc"))))))
    with pytest.raises(BrokenMessage, match="not UTF-8"):
        decode_example(field(1, field(1, field(1, b"\xff"))))
