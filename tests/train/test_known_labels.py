import numpy as np

from ml_images.schemas import UNKNOWN
from ml_images.train.known_labels import KnownLabels, Unlisted, know_labels

ABSENT_OR_SEEN = np.array([1.0, 0.4, UNKNOWN, 0.5, 0.0, 1.0], np.float32)


def known(unlisted: Unlisted, kept: list[bool]) -> KnownLabels:
    """Three images of four classes; the first lists class 3 before class 0."""
    offsets, classes = np.array([0, 3, 5, 6]), np.array([3, 0, 1, 0, 2, 1])
    return know_labels(offsets, classes, ABSENT_OR_SEEN, np.array(kept), unlisted)


def test_half_a_confidence_is_a_positive_and_less_is_not() -> None:
    labels = known("absent", [True, True, True])
    assert labels.offsets.tolist() == [0, 1, 2, 3]
    assert labels.positives.tolist() == [3, 0, 1]
    assert labels.rows.tolist() == [0, 1, 2]


def test_the_positives_of_an_image_ascend() -> None:
    labels = know_labels(np.array([0, 3]), np.array([9, 2, 5]), np.ones(3, np.float32), np.array([True]), "absent")
    assert labels.positives.tolist() == [2, 5, 9]


def test_what_is_not_listed_is_absent_or_unknown_as_asked() -> None:
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    hidden = known("absent", [True] * 3).hide_unknown(scores)
    assert np.argwhere(np.isnan(hidden)).tolist() == [[0, 1]]
    assert known("absent", [True] * 3).known_per_class(4).tolist() == [3, 2, 3, 3]
    hidden = known("unknown", [True] * 3).hide_unknown(scores)
    assert np.argwhere(~np.isnan(hidden)).tolist() == [[0, 0], [0, 3], [1, 0], [1, 2], [2, 1]]
    assert hidden[1, 2] == scores[1, 2]
    assert known("unknown", [True] * 3).known_per_class(4).tolist() == [2, 1, 1, 1]
    assert not np.isnan(scores).any()


def test_images_that_are_not_kept_leave_no_trace() -> None:
    labels = known("absent", [False, True, True])
    assert labels.images == 2
    assert labels.positives.tolist() == [0, 1]
    assert labels.rows.tolist() == [0, 1]
    assert labels.known_per_class(4).tolist() == [2, 2, 2, 2]
    scores = np.ones((2, 4), np.float32)
    assert labels.hide_unknown(scores) is scores


def test_an_image_without_positives_keeps_its_place() -> None:
    labels = know_labels(
        np.array([0, 1, 1, 2]), np.array([1, 1]), np.ones(2, np.float32), np.ones(3, np.bool_), "absent"
    )
    assert labels.offsets.tolist() == [0, 1, 1, 2]
    assert labels.rows.tolist() == [0, 2]
