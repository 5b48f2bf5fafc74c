"""A sample as tf.train.Example, in two layouts, and back; also the third one, which is only read.

    dense   width, height, image, name, label: bytes, little-endian float32 (classes), 0 where nothing is said: that of
            Tencent ML-Images, 44,664 bytes of label an image for its 11,166 classes
    sparse  key, image, classes: int64, confidences: float32, width, height
    single  as dense, but label: one int64, the only class (ML-Images' lists for finetuning)

A dense label cannot tell a verified absence (confidence 0) from a class that nothing is said of: the former is lost.
"""

from typing import Literal

import numpy as np

from ml_images.interchange.example import Feature, decode_example, encode_example
from ml_images.interchange.protobuf import BrokenMessage
from ml_images.interchange.sample import Sample, check_classes, checked_labels, shown

Layout = Literal["sparse", "dense"]


def encode_sample(sample: Sample, layout: Layout, num_classes: int) -> bytes:
    """The message of one sample. num_classes: length of a dense label."""
    size = {"width": np.array([sample.width]), "height": np.array([sample.height])}
    if layout == "sparse":
        labels = {"classes": sample.classes, "confidences": sample.confidences}
        return encode_example({"key": sample.key.encode(), "image": sample.image, **labels, **size})
    label = np.zeros(num_classes, "<f4")
    label[sample.classes] = sample.confidences
    return encode_example({"name": sample.key.encode(), "image": sample.image, "label": label.tobytes(), **size})


def num_lost(sample: Sample, layout: Layout) -> int:
    """Labels that a record of this layout cannot hold."""
    return int(np.count_nonzero(sample.confidences == 0)) if layout == "dense" else 0


def decode_sample(data: bytes, num_classes: int | None = None) -> Sample:
    """The sample of a message in any of the three layouts; num_classes: of the vocabulary, where there is one.

    Raises ValueError (also BrokenMessage) for what is no such message, and for classes that the vocabulary has not.
    """
    features = decode_example(data)
    key = _text(features, "key" if "key" in features else "name")
    if not key:
        raise BrokenMessage("an empty key")
    if "classes" in features:
        classes, confidences = checked_labels(_ints(features, "classes"), _floats(features, "confidences"))
    else:
        classes, confidences = _decode_label(features, num_classes)
    check_classes(classes, num_classes)
    image = bytes(_one(features, "image"))
    return Sample(key, image, classes, confidences, _number(features, "width"), _number(features, "height"))


def _decode_label(features: dict[str, Feature], num_classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    label = features.get("label")
    if isinstance(label, np.ndarray) and label.dtype == np.int64 and len(label) == 1:
        return checked_labels(label.tolist(), [1.0])
    data = _one(features, "label")
    if len(data) % 4:
        raise BrokenMessage(f"a dense label of {len(data)} bytes, accepted is one float32 a class")
    if num_classes is not None and len(data) != 4 * num_classes:
        raise ValueError(f"a dense label of {len(data) // 4} classes, the vocabulary has {num_classes}")
    dense = np.frombuffer(data, "<f4")
    classes = np.flatnonzero(dense)
    return checked_labels(classes, dense[classes])


def _one(features: dict[str, Feature], name: str) -> memoryview:
    feature = _get(features, name)
    if not isinstance(feature, list) or len(feature) != 1:
        raise BrokenMessage(f"feature '{name}' must be one byte string")
    return feature[0]


def _ints(features: dict[str, Feature], name: str) -> np.ndarray:
    feature = _get(features, name)
    if isinstance(feature, np.ndarray) and feature.dtype == np.int64:
        return feature
    if not len(feature):  # a list without a number need not say of what kind it is
        return np.zeros(0, np.int64)
    raise BrokenMessage(f"feature '{name}' must be int64 numbers")


def _floats(features: dict[str, Feature], name: str) -> np.ndarray:
    feature = _get(features, name)
    if isinstance(feature, np.ndarray) and feature.dtype == np.float32:
        return feature
    if not len(feature):
        return np.zeros(0, np.float32)
    raise BrokenMessage(f"feature '{name}' must be float numbers")


def _number(features: dict[str, Feature], name: str) -> int:
    numbers = _ints(features, name)
    if len(numbers) != 1:
        raise BrokenMessage(f"feature '{name}' must be one int64 number")
    return int(numbers[0])


def _text(features: dict[str, Feature], name: str) -> str:
    data = bytes(_one(features, name))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BrokenMessage(f"feature '{name}' is not UTF-8") from error


def _get(features: dict[str, Feature], name: str) -> Feature:
    if name not in features:
        there = shown(", ".join(sorted(features))) or "none"
        raise BrokenMessage(f"no feature '{name}' (there: {there}); accepted are the dense and sparse layouts")
    return features[name]
