import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.sample import check_classes, checked_labels

CONFIDENCES = st.sampled_from([-1.0, 0.0, 0.1, 0.5, 0.8, 1.0])


@given(st.lists(st.tuples(st.integers(0, 9), CONFIDENCES)))
def test_labels_ascend_and_the_surer_of_two_stays(labels: list[tuple[int, float]]) -> None:
    classes, confidences = checked_labels([c for c, _ in labels], [s for _, s in labels])
    expected = {c: max(s for other, s in labels if other == c) for c, _ in labels}
    assert classes.tolist() == sorted(expected)
    assert np.array_equal(confidences, np.array([expected[c] for c in sorted(expected)], np.float32))
    assert (classes.dtype, confidences.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("classes", "confidences", "told"),
    [
        ([1, 2], [1.0], "2 classes and 1 confidences"),
        ([-1], [1.0], "class -1"),
        ([2**31], [1.0], "class 2147483648"),
        ([1], [float("nan")], "confidence nan"),
        ([1], [1.5], "confidence 1.5"),
        ([1, 2], [0.5, -0.5], "confidence -0.5"),
    ],
)
def test_what_no_label_may_be_is_refused(classes: list[int], confidences: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        checked_labels(classes, confidences)


def test_classes_end_with_the_vocabulary() -> None:
    classes = np.array([0, 7], np.int32)
    check_classes(classes, 8)
    check_classes(classes, None)
    with pytest.raises(ValueError, match="class 7, the vocabulary has 7"):
        check_classes(classes, 7)
