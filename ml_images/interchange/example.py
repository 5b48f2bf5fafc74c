"""tf.train.Example as a dict: each feature a list of byte strings, int64 numbers or float32 numbers.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }             a map is repeated { key = 1; value = 2; }
    message Feature   { oneof kind { BytesList = 1; FloatList = 2; Int64List = 3; } }
    message BytesList { repeated bytes value = 1; }                      the other two packed

Source: TensorFlow, core/example/example.proto and feature.proto (its documentation). Features are written in the order
given, so equal samples give equal bytes.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_images.interchange.protobuf import (
    FIXED32,
    LENGTH,
    VARINT,
    BrokenMessage,
    field,
    read_fields,
    read_varint,
    varint,
)

_BYTES, _FLOATS, _INTS = 1, 2, 3
_NUM_BITS = 64

Feature = list[memoryview] | npt.NDArray[np.float32] | npt.NDArray[np.int64]


def encode_example(features: Mapping[str, bytes | npt.NDArray[Any]]) -> bytes:
    """The message for features that are one byte string, or an array of any integers or floats."""
    entries = []
    for name, value in features.items():
        feature = field(*_encode_list(value))
        entries.append(field(1, field(1, name.encode()) + field(2, feature)))
    return field(1, b"".join(entries))


def _encode_list(value: bytes | npt.NDArray[Any]) -> tuple[int, bytes]:
    if isinstance(value, bytes):
        return _BYTES, field(1, value)
    if value.dtype.kind == "f":
        return _FLOATS, field(1, value.astype("<f4").tobytes())
    return _INTS, field(1, b"".join(varint(number % (1 << _NUM_BITS)) for number in value.tolist()))


# Of a feature; what lists hold costs Python up to a hundred times the bytes of the message.
_MOST_STRINGS, _MOST_INTS = 1 << 16, 1 << 20


def decode_example(data: bytes) -> dict[str, Feature]:
    """The features of a message; byte strings are views of `data`. Raises BrokenMessage."""
    features: dict[str, Feature] = {}
    for message in _messages(memoryview(data), 1):
        for entry in _messages(message, 1):
            name, value = "", memoryview(b"")
            for number, kind, content in read_fields(entry):
                if number == 1 and kind == LENGTH:
                    name = _text(content)
                elif number == 2 and kind == LENGTH:
                    value = content
            features[name] = _decode_feature(value)
    return features


def _decode_feature(data: memoryview) -> Feature:
    feature: Feature = []
    for number, kind, content in read_fields(data):
        if kind != LENGTH:
            continue
        if number == _BYTES:
            feature = list(itertools.islice(_messages(content, 1), _MOST_STRINGS + 1))
            if len(feature) > _MOST_STRINGS:
                raise BrokenMessage(f"a list of more than {_MOST_STRINGS} byte strings")
        elif number == _FLOATS:
            feature = _decode_floats(content)
        elif number == _INTS:
            feature = _decode_ints(content)
    return feature


def _decode_floats(data: memoryview) -> npt.NDArray[np.float32]:
    pieces = []
    for number, kind, content in read_fields(data):
        if number == 1 and kind in (LENGTH, FIXED32):
            if len(content) % 4:
                raise BrokenMessage(f"a list of floats of {len(content)} bytes")
            pieces.append(content)
    return np.frombuffer(b"".join(pieces), "<f4").astype(np.float32, copy=False)


def _decode_ints(data: memoryview) -> npt.NDArray[np.int64]:
    values = []
    for number, kind, content in read_fields(data):
        if number == 1 and kind in (LENGTH, VARINT):
            at = 0
            while at < len(content):
                value, at = read_varint(content, at)
                values.append(value)
                if len(values) > _MOST_INTS:
                    raise BrokenMessage(f"a list of more than {_MOST_INTS} integers")
    return np.array(values, np.uint64).view(np.int64)


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, kind, content in read_fields(data):
        if number == wanted and kind == LENGTH:
            yield content


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise BrokenMessage("the name of a feature is not UTF-8") from error
