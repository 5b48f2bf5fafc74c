from pathlib import Path

import numpy as np
import pytest

from ml_images.errors import InputError
from ml_images.sample.full_scale.curve import CLASSES, parse_counts, published_counts, resampled, tags_per_image


def test_the_curve_descends_and_leaves_342_classes_empty() -> None:
    counts = published_counts()
    assert (len(counts), np.count_nonzero(counts == 0), counts[0]) == (CLASSES, 342, 13_217_523)
    assert (np.diff(counts) <= 0).all()
    assert np.count_nonzero(counts > 100) == pytest.approx(10_505, abs=5)  # the published trainable classes


@pytest.mark.real_data
def test_the_curve_is_within_1_percent_of_the_recovered_counts(shared_data: Path) -> None:
    exact = np.loadtxt(shared_data / "ml-images/class_counts_sorted.txt")
    counts = published_counts()[: len(exact)]
    many = exact >= 100
    assert (abs(counts - exact) <= 0.01 * exact + 0.5)[many].all()
    assert abs(counts - exact)[~many].max() <= 5
    assert counts.sum() == pytest.approx(exact.sum(), rel=2e-4)


@pytest.mark.real_data
def test_tags_per_image_are_the_published_bars(shared_data: Path) -> None:
    tags, images = np.loadtxt(shared_data / "ml-images/tags_per_image_histogram.csv", delimiter=",", skiprows=1).T
    shares = tags_per_image()
    assert shares[tags.astype(int)] / shares[8] == pytest.approx(images / images[tags == 8])


def test_tags_per_image_have_the_mean_of_the_class_counts() -> None:
    shares = tags_per_image()
    assert shares.sum() == pytest.approx(1)
    assert shares @ np.arange(len(shares)) == pytest.approx(154_580_231 / 17_698_491, rel=1e-3)


def test_resampling_to_the_same_number_changes_nothing() -> None:
    assert np.array_equal(resampled(published_counts(), CLASSES), published_counts())


def test_resampling_keeps_the_distribution() -> None:
    counts = np.array([8.0, 4.0, 2.0, 0.0])
    assert resampled(counts, 8).tolist() == [8, 7, 5, 3.5, 2.5, 1.5, 0.5, 0]
    assert resampled(counts, 2).tolist() == [6, 1]
    assert resampled(counts, 1).tolist() == [3]
    half = resampled(published_counts(), CLASSES // 2)
    assert np.quantile(half, [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(published_counts(), [0.1, 0.5, 0.9]), rel=0.01
    )


def test_counts_are_read_one_a_line_and_filled_up_with_empty_classes() -> None:
    assert parse_counts(b"30\r\n5\n5\n0\n", "f", 6).tolist() == [30, 5, 5, 0, 0, 0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f: no class has an image"),
        (b"0\n", "f: no class has an image"),
        (b"3\n4\n", "f:2: counts must descend, got 4 after 3"),
        (b"3\n-1\n", "f:2: expected the images of a class, a whole number, got '-1'"),
        (b"3.5\n", "f:1: expected the images of a class, a whole number, got '3.5'"),
        ("²\n".encode(), "f:1: expected"),
        (b"9" * 400, "f:1: expected"),
        (b"4\n3\n2\n1\n", "f: 4 counts, but the vocabulary has 3 classes"),
    ],
)
def test_wrong_counts_are_one_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_counts(data, "f", 3)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
