import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.example import encode_example
from ml_images.interchange.layouts import Layout, decode_sample, encode_sample, num_lost
from ml_images.interchange.records import framed, read_records
from ml_images.interchange.sample import Sample, checked_labels

NUM_CLASSES = 12
LAYOUTS: list[Layout] = ["sparse", "dense"]
LABELS = st.dictionaries(st.integers(0, NUM_CLASSES - 1), st.sampled_from([-1.0, 0.25, 0.8, 1.0]))


def sample(key: str, image: bytes, labels: dict[int, float]) -> Sample:
    classes, confidences = checked_labels(list(labels), list(labels.values()))
    return Sample(key, image, classes, confidences, 500, 374)


def same(a: Sample, b: Sample) -> bool:
    lists = np.array_equal(a.classes, b.classes) and np.array_equal(a.confidences, b.confidences)
    return lists and (a.key, a.image, a.width, a.height) == (b.key, b.image, b.width, b.height)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.text(min_size=1), st.binary(), LABELS)
def test_samples_come_back(layout: Layout, key: str, image: bytes, labels: dict[int, float]) -> None:
    given_ = sample(key, image, labels)
    data = encode_sample(given_, layout, NUM_CLASSES)
    assert same(decode_sample(data, NUM_CLASSES), given_)
    assert data == encode_sample(given_, layout, NUM_CLASSES)


def test_only_the_sparse_layout_holds_absences() -> None:
    given_ = sample("k", b"", {1: 0.0, 2: 1.0, 3: -1.0, 4: 0.0})
    assert same(decode_sample(encode_sample(given_, "sparse", 12)), given_)
    assert decode_sample(encode_sample(given_, "dense", 12)).classes.tolist() == [2, 3]
    assert (num_lost(given_, "sparse"), num_lost(given_, "dense")) == (0, 2)


def test_the_dense_layout_is_one_float_a_class() -> None:
    data = encode_sample(sample("k", b"", {1: 0.5}), "dense", 11_166)
    label = np.zeros(11_166, "<f4")
    label[1] = 0.5
    assert label.tobytes() in data and 44_664 < len(data) < 44_664 + 120


def test_the_single_label_of_ml_images_finetuning_is_read() -> None:
    size = {"width": np.array([1]), "height": np.array([2])}
    data = encode_example({"name": b"k", "image": b"x", "label": np.array([7]), **size})
    assert same(decode_sample(data), Sample("k", b"x", *checked_labels([7], [1.0]), 1, 2))


BASE: dict[str, Any] = {"key": b"k", "image": b"x", "width": np.array([1]), "height": np.array([2])}
ONE: dict[str, Any] = {"classes": np.array([3]), "confidences": np.array([0.5])}


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({}, "no feature 'name' .there: none."),
        (BASE, "no feature 'label' .there: height, image, key, width."),
        (BASE | ONE | {"key": b""}, "empty key"),
        (BASE | ONE | {"key": b"\xff"}, "'key' is not UTF-8"),
        (BASE | ONE | {"key": np.array([1])}, "'key' must be one byte string"),
        (BASE | ONE | {"width": b"1"}, "'width' must be int64"),
        (BASE | ONE | {"width": np.array([1, 2])}, "'width' must be one int64"),
        (BASE | ONE | {"confidences": np.array([3])}, "'confidences' must be float"),
        (BASE | ONE | {"confidences": np.array([0.5, 0.5])}, "1 classes and 2 confidences"),
        (BASE | ONE | {"confidences": np.array([1.5])}, "confidence 1.5"),
        (BASE | ONE | {"classes": np.array([12])}, "class 12, the vocabulary has 12"),
        (BASE | {"label": np.full(12, np.nan, "<f4").tobytes()}, "confidence nan"),
        (BASE | {"label": b"123"}, "dense label of 3 bytes"),
        (BASE | {"label": bytes(4 * 13)}, "dense label of 13 classes, the vocabulary has 12"),
    ],
)
def test_what_is_no_sample_is_said_in_one_line(features: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        decode_sample(encode_example(features), 12)
    assert "\n" not in str(caught.value)


@pytest.mark.real_data
def test_the_records_of_ml_images_import_and_export_to_the_same(shared_data: Path) -> None:
    samples = []
    for name in ("0.tfrecords", "1.tfrecords"):
        file = shared_data / "ml-images" / "tfrecords" / name
        with file.open("rb") as opened:
            samples += [decode_sample(data, 11_166) for _, data in read_records(opened, file.stat().st_size, name)]
    samples.sort(key=lambda one: one.key)
    assert [one.key for one in samples] == [f"im_{i}.jpeg" for i in range(4)]
    told = [dict(zip(one.classes.tolist(), one.confidences.round(3).tolist(), strict=True)) for one in samples]
    assert told == [
        {5170: pytest.approx(0.9), 5177: pytest.approx(0.9)},
        {1053: pytest.approx(0.8), 1193: pytest.approx(0.8)},
        {3: 1, 5193: pytest.approx(0.9), 5851: pytest.approx(0.9), 9413: 1, 9416: 1},
        {1053: pytest.approx(0.8), 1193: pytest.approx(0.8), 1379: pytest.approx(0.8)},
    ]
    assert [len(one.image) for one in samples].count(14_676) == 3 and {one.width for one in samples} >= {500}
    for layout in LAYOUTS:
        assert all(same(decode_sample(encode_sample(one, layout, 11_166), 11_166), one) for one in samples)
    # As long as the originals, to the byte: only the order of the features is free.
    dense = [len(framed(encode_sample(one, "dense", 11_166))) for one in samples]
    assert dense == [140_231, 59_460, 59_460, 59_460]


def test_an_independent_reader_reads_ours_and_we_read_what_it_writes(tmp_path: Path) -> None:
    tfrecord = importlib.import_module("tfrecord")
    ours = [sample("a/ä.jpg", b"\xff\xd8\xff", {1: 0.5, 9: 1.0}), sample("b", b"x" * 40, {0: 0.25})]
    for layout in LAYOUTS:
        file = tmp_path / f"{layout}.tfrecords"
        file.write_bytes(b"".join(framed(encode_sample(one, layout, NUM_CLASSES)) for one in ours))
        read = list(tfrecord.tfrecord_loader(str(file), None))
        assert [int(one["width"][0]) for one in read] == [500, 500]
        assert [bytes(one["image"]) for one in read] == [one.image for one in ours]
        if layout == "sparse":
            assert [bytes(one["key"]).decode() for one in read] == [one.key for one in ours]
            assert [one["classes"].tolist() for one in read] == [one.classes.tolist() for one in ours]
            assert [one["confidences"].tolist() for one in read] == [one.confidences.tolist() for one in ours]
        else:
            assert [len(one["label"]) for one in read] == [4 * NUM_CLASSES] * 2
    theirs = tmp_path / "theirs.tfrecords"
    writer = tfrecord.TFRecordWriter(str(theirs))
    for one in ours:
        numbers = {"classes": (one.classes.tolist(), "int"), "confidences": (one.confidences.tolist(), "float")}
        size = {"width": (one.width, "int"), "height": (one.height, "int")}
        writer.write({"key": (one.key.encode(), "byte"), "image": (one.image, "byte"), **numbers, **size})
    writer.close()
    with theirs.open("rb") as opened:
        found = [decode_sample(data) for _, data in read_records(opened, theirs.stat().st_size, "theirs")]
    assert len(found) == 2 and all(same(a, b) for a, b in zip(found, ours, strict=True))


MESSAGE = encode_sample(sample("key", b"image", {1: 0.5, 9: 1.0}), "sparse", NUM_CLASSES)


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255))
def test_a_changed_message_is_a_sample_or_refused_in_one_line(at: int, byte: int) -> None:
    data = bytearray(MESSAGE)
    data[at] = byte
    try:
        found = decode_sample(bytes(data), NUM_CLASSES)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert len(found.classes) == len(found.confidences) and found.key
