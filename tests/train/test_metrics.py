import itertools
import json
import math
from contextlib import closing

import numpy as np
import pytest
import torch
from dense_labels import labels_of
from numpy.typing import NDArray
from rank_threads import on_ranks

from ml_images.schemas import UNKNOWN
from ml_images.train.calibration import Activation
from ml_images.train.comm import Comm, LocalComm
from ml_images.train.metrics import NO_FACTS, ClassFacts, Metrics, Scored, log_softmax, why_not_scored

FACTS = ClassFacts(
    training_images=np.array([0, 5, 5, 500]),
    depths=np.array([0, 1, 2, 2]),
    leaves=np.array([False, False, True, True]),
)


def found(
    scores: NDArray[np.float32],
    targets: NDArray[np.float32],
    comm: Comm,
    facts: ClassFacts = NO_FACTS,
    batch: int = 3,
    activation: Activation = "sigmoid",
) -> Scored:
    with closing(Metrics(scores.shape[1], facts, activation)) as metrics:
        for start in range(0, len(scores), batch):
            part = slice(start, start + batch)
            metrics.update(scores[part], labels_of(targets[part]))
        return metrics.result(comm)


def test_known_answers() -> None:
    """Class 0 has AP 5/6, class 1 no positive, class 2 no negative, class 3 nothing known, class 4 AP 1/2."""
    scores = np.array([[0.9], [0.8], [0.7], [0.6]], np.float32).repeat(5, axis=1)
    u = UNKNOWN
    targets = np.array([[1, 0, 1, u, 0], [0, 0, 1, u, u], [1, 0, u, u, 1], [0, 0, 1, u, 0]], np.float32)
    result = found(scores, targets, LocalComm())
    assert result.report["classes"] == {"all": 5, "scored": 2, "all_unknown": 1, "no_positive": 1, "no_negative": 1}
    assert result.scored.tolist() == [True, False, False, False, True]
    assert result.average_precision[[0, 2, 4]].tolist() == pytest.approx([5 / 6, 1, 1 / 2])
    assert np.isnan(result.average_precision[[1, 3]]).all()
    assert result.report["mean_average_precision"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert result.report["weighted_average_precision"] == pytest.approx((2 * 5 / 6 + 1 / 2) / 3)
    assert result.report["prior"] == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert result.report["cells"] == {"known": 4 + 4 + 3 + 0 + 3, "positive": 2 + 0 + 3 + 0 + 1}
    assert result.report["images"] == result.images == 4


def test_a_softmax_ranks_probabilities_which_have_another_order_than_logits() -> None:
    """The second image is of class 0, with the lower logit and the higher probability."""
    scores = np.array([[5, 9], [1, 0]], np.float32)
    targets = np.array([[0, 1], [1, 0]], np.float32)
    assert found(scores, targets, LocalComm()).average_precision.tolist() == [0.5, 1]
    assert found(scores, targets, LocalComm(), activation="softmax").average_precision.tolist() == [1, 1]
    twice = found(log_softmax(scores), targets, LocalComm(), activation="softmax")  # as several views are told
    assert twice.average_precision.tolist() == [1, 1]


def test_probabilities_that_float32_rounds_to_0_or_1_keep_their_order() -> None:
    logits = np.array([[x, 0] for x in (-200, -150, 20, 25, 30)], np.float32)
    assert set(torch.from_numpy(logits).softmax(dim=1)[:, 0].tolist()) == {0, 1}
    for views in (logits, log_softmax(logits), logits + 1000):
        assert np.argsort(log_softmax(views)[:, 0]).tolist() == [0, 1, 2, 3, 4]
        assert len(np.unique(log_softmax(views)[:, 0])) == 5


def test_why_there_is_no_average_precision_is_told_by_numbers() -> None:
    targets = np.array([[0, 1, 1, UNKNOWN], [0, 1, 1, UNKNOWN]], np.float32)
    result = found(np.zeros((2, 4), np.float32), targets, LocalComm())
    assert result.report["mean_average_precision"] is None
    assert why_not_scored(result.report["classes"]) == (
        "no class can be scored: of 4, 1 are without a positive image, 2 without a negative one, 1 without either"
    )


def test_without_images_nothing_is_scored() -> None:
    result = found(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), LocalComm(), ClassFacts(depths=np.zeros(3, int))
    )
    assert result.report["mean_average_precision"] is result.report["micro_average_precision"] is None
    assert result.report["classes"]["all_unknown"] == 3
    assert not result.scored.any()
    assert "NaN" not in json.dumps(result.report)


def test_classes_are_grouped_by_what_is_known_about_them() -> None:
    scores = np.array([[3, 1, 2, 1], [2, 2, 1, 2], [1, 3, 3, 3]], np.float32)
    targets = np.array([[1, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0]], np.float32)
    report = found(scores, targets, LocalComm(), FACTS).report
    assert [(group["group"], group["scored"]) for group in report["per_training_images"]] == [
        ("0", 1),
        ("1-10", 2),
        ("101-1,000", 1),
    ]
    assert [group["mean_average_precision"] for group in report["per_training_images"]] == pytest.approx(
        [1, (1 + 1 / 3) / 2, 1 / 2]
    )
    assert [(group["group"], group["classes"]) for group in report["per_depth"]] == [("0", 1), ("1", 1), ("2", 2)]
    assert report["single_label"]["images"] == 0  # the second image has both leaves, the others none
    without = found(scores, targets, LocalComm()).report
    assert without["single_label"]["images"] == 2
    assert "per_depth" not in without
    assert "per_training_images" not in without


def test_the_result_does_not_depend_on_how_images_are_spread_over_ranks_and_batches() -> None:
    chance = np.random.default_rng(3)
    scores = (chance.integers(0, 12, (35, 4)) / 4).astype(np.float32)
    targets = chance.choice(np.array([0.0, 0.0, 1.0, UNKNOWN], np.float32), (35, 4))
    alone = found(scores, targets, LocalComm(), FACTS, batch=35)
    for cuts in ([0, 35, 35], [0, 0, 10, 35], [0, 1, 2, 20, 35]):
        parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        for result in on_ranks(
            len(parts),
            lambda comm, parts=parts: found(scores[parts[comm.rank]], targets[parts[comm.rank]], comm, FACTS),
        ):
            assert result.average_precision.tolist() == alone.average_precision.tolist()
            assert result.known.tolist() == alone.known.tolist()
            assert close_to(result.report, alone.report)


def close_to(one: object, other: object) -> bool:
    """Equal but for the order in which fractions were added up."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close_to(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close_to, one, other))
    return (
        math.isclose(one, other, rel_tol=1e-12) if isinstance(one, float) and isinstance(other, float) else one == other
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused_by_its_place(bad: float) -> None:
    scores = np.zeros((2, 3), np.float32)
    scores[1, 2] = bad
    with closing(Metrics(3)) as metrics, pytest.raises(ValueError, match=rf"finite, got {bad} for class 2 of row 1"):
        metrics.update(scores, labels_of(np.zeros((2, 3), np.float32)))
