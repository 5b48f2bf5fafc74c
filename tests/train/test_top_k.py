import numpy as np
import pytest
from dense_labels import labels_of
from hypothesis import given
from hypothesis import strategies as st

from ml_images.schemas import UNKNOWN
from ml_images.train.top_k import TopK, describe_top_k, positive_ranks


def described(
    scores: list[list[float]], targets: list[list[float]], leaves: list[bool] | None = None
) -> dict[str, object]:
    labels = labels_of(np.array(targets, np.float32))
    counters = TopK(None if leaves is None else np.array(leaves))
    counters.update(labels.hide_unknown(np.array(scores, np.float32)), labels)
    return describe_top_k(counters.totals())


IMAGE = st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.sampled_from([0.0, 1.0, UNKNOWN])), min_size=1)


@given(IMAGE)
def test_ranks_are_those_of_a_stable_sort_of_the_known_cells(cells: list[tuple[float, float]]) -> None:
    scores = np.array([[score for score, _ in cells]], np.float32)
    labels = labels_of(np.array([[target for _, target in cells]], np.float32))
    ranks, reached = positive_ranks(labels.hide_unknown(scores), labels.offsets, labels.positives)
    known = [(-score, number) for number, (score, target) in enumerate(cells) if target != UNKNOWN]
    places = {number: place for place, (_, number) in enumerate(sorted(known), 1)}
    assert ranks.tolist() == [places[number] for number, (_, target) in enumerate(cells) if target == 1]
    positive = [score for score, target in cells if target == 1]
    expected = sum(target != UNKNOWN and score >= min(positive) for score, target in cells) if positive else 0
    assert reached.tolist() == [expected]


def test_known_answers() -> None:
    scores = [[9.0, 8, 7, 6, 5, 4], [1.0, 2, 3, 4, 5, 6], [0.0, 0, 0, 0, 0, 0]]
    told = described(scores, [[1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0] * 6])
    assert told["images_with_a_positive"] == 2  # the third has none and counts for nothing
    assert told["precision"] == {"1": 1 / 2, "3": 2 / 6, "5": 3 / 10, "10": 3 / 20}
    assert told["recall"] == {"1": 0.5 / 2, "3": 1.5 / 2, "5": 1.0, "10": 1.0}
    assert told["coverage"] == (4 + 3) / 2
    assert told["single_label"] == {"images": 1, "top_1": 0.0, "top_5": 1.0}


def test_coverage_counts_all_classes_of_the_lowest_score() -> None:
    assert described([[3.0, 1, 1, 1, 0]], [[1, 1, 0, 0, 0]])["coverage"] == 4


def test_an_unknown_class_has_no_rank() -> None:
    assert described([[5.0, 4, 3]], [[UNKNOWN, 0, 1]])["coverage"] == 2
    assert described([[5.0, 4, 3]], [[UNKNOWN, UNKNOWN, 1]])["precision"]["1"] == 1.0


def test_among_leaves_the_ancestors_do_not_count() -> None:
    """Class 0 is above 1 to 3; the second image has two leaves, so none is the one right class."""
    scores = [[9.0, 5, 6, 1], [9.0, 5, 1, 1], [9.0, 1, 5, 2]]
    targets = [[1.0, 0, 1, 0], [1, 1, 0, 1], [1, 0, 0, 1]]
    leaves = [False, True, True, True]
    assert described(scores, targets, leaves)["single_label"] == {"images": 2, "top_1": 0.5, "top_5": 1.0}
    assert described(scores, targets)["single_label"] == {"images": 0, "top_1": None, "top_5": None}


@given(st.lists(st.tuples(IMAGE.map(lambda cells: [*cells, (0.0, 0.0), (0.0, 1.0)][:3]), st.booleans()), min_size=1))
def test_batches_and_ranks_add_up(images: list[tuple[list[tuple[float, float]], bool]]) -> None:
    one, other, both = TopK(), TopK(), TopK()
    for image, first in images:
        padded = (image + [(0.0, 0.0)] * 3)[:3]
        labels = labels_of(np.array([[target for _, target in padded]], np.float32))
        scores = labels.hide_unknown(np.array([[score for score, _ in padded]], np.float32))
        (one if first else other).update(scores, labels)
        both.update(scores, labels)
    assert one.totals() + other.totals() == pytest.approx(both.totals())
