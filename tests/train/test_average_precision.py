import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rank_threads import on_ranks

from ml_images.train import average_precision, score_store
from ml_images.train.average_precision import AveragePrecision, average_precisions
from ml_images.train.comm import Comm, LocalComm
from ml_images.train.score_store import ScoreStore

UNKNOWN_CELL, NEGATIVE_CELL, POSITIVE_CELL = -1, 0, 1


def found(scores: NDArray[np.float32], cells: NDArray[np.int64], comm: Comm, threads: int = 1) -> AveragePrecision:
    """scores (rows, classes), and which of the three above each cell is."""
    store = ScoreStore(scores.shape[1])
    store.add(np.where(cells == UNKNOWN_CELL, np.float32(np.nan), scores))
    rows, classes = np.nonzero(cells == POSITIVE_CELL)
    result = average_precisions(store, classes, scores[rows, classes], scores.shape[1], comm, threads)
    store.close()
    return result


def slow_average_precision(scores: NDArray[np.float32], cells: NDArray[np.int64]) -> float:
    """From the definition: one threshold for each distinct score, highest first."""
    known = [(s, t == POSITIVE_CELL) for s, t in zip(scores.tolist(), cells.tolist(), strict=True) if t != UNKNOWN_CELL]
    positives = sum(t for _, t in known)
    if positives == 0:
        return math.nan
    result, before = 0.0, 0.0
    for threshold in sorted({s for s, _ in known}, reverse=True):
        chosen = [t for s, t in known if s >= threshold]
        recall, precision = sum(chosen) / positives, sum(chosen) / len(chosen)
        result += (recall - before) * precision
        before = recall
    return result


SCORE = st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.25, 1.0, 3.0]) | st.floats(-1, 1, width=32)
CELL = st.sampled_from([UNKNOWN_CELL, NEGATIVE_CELL, NEGATIVE_CELL, POSITIVE_CELL])


@given(
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(st.tuples(SCORE, CELL), min_size=n, max_size=n), min_size=1))
)
def test_it_equals_the_definition_with_ties_and_unknown_cells(rows: list[list[tuple[float, int]]]) -> None:
    scores = np.array([[s for s, _ in row] for row in rows], np.float32)
    cells = np.array([[t for _, t in row] for row in rows])
    result = found(scores, cells, LocalComm())
    for number in range(scores.shape[1]):
        expected = slow_average_precision(scores[:, number], cells[:, number])
        assert result.per_class[number] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    pooled = slow_average_precision(scores.ravel(), cells.ravel())
    assert result.pooled == pytest.approx(pooled, abs=1e-12, nan_ok=True)


def slow_best_f1(scores: NDArray[np.float32], cells: NDArray[np.int64]) -> tuple[float, float]:
    """Every score as the threshold, the highest one first: the best F1, and where it was reached first."""
    best = math.nan, math.nan
    for threshold in sorted(set(scores[cells != UNKNOWN_CELL].tolist()), reverse=True):
        kept = (scores >= threshold) & (cells != UNKNOWN_CELL)
        right, positives = (kept & (cells == POSITIVE_CELL)).sum(), (cells == POSITIVE_CELL).sum()
        if right:
            precision, recall = Fraction(int(right), int(kept.sum())), Fraction(int(right), int(positives))
            reached = 2 * precision * recall / (precision + recall)
            if not reached <= best[0]:
                best = reached, threshold
    return float(best[0]), best[1]


@given(
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(st.tuples(SCORE, CELL), min_size=n, max_size=n), min_size=1))
)
def test_the_best_f1_is_that_of_trying_every_score(rows: list[list[tuple[float, int]]]) -> None:
    scores = np.array([[s for s, _ in row] for row in rows], np.float32)
    cells = np.array([[t for _, t in row] for row in rows])
    f1, thresholds = found(scores, cells, LocalComm()).best
    for number in range(scores.shape[1]):
        wanted, threshold = slow_best_f1(scores[:, number], cells[:, number])
        assert f1[number] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        assert thresholds[number] == threshold or (math.isnan(thresholds[number]) and math.isnan(threshold))


def test_known_answers() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    result = found(scores, np.array([[1, 0], [0, 0], [1, 0], [0, 0]]), LocalComm())
    assert result.per_class[0] == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(result.per_class[1])
    # The worked example of specs 14: precision 1, 1, 3/4, 4/6 at its positives.
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.3, 0.1]], np.float32).T
    result = found(scores, np.array([[1, 1, 0, 1, 0, 1, 0, 0]]).T, LocalComm())
    assert result.per_class[0] == result.pooled == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)


def test_equal_scores_get_the_share_of_positives() -> None:
    result = found(np.zeros((4, 1), np.float32), np.array([[1, 0, 0, 0]]).T, LocalComm())
    assert result.per_class.tolist() == [0.25]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("tile_bytes", [1, 1 << 20])
@pytest.mark.parametrize("cells_at_once", [1, 1 << 15])
def test_the_result_does_not_depend_on_ranks_threads_or_tiles(
    threads: int, tile_bytes: int, cells_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(3)
    scores = chance.integers(0, 40, (235, 7)).astype(np.float32) / 4
    cells = chance.choice([UNKNOWN_CELL, NEGATIVE_CELL, POSITIVE_CELL], (235, 7))
    alone = found(scores, cells, LocalComm())
    monkeypatch.setattr(score_store, "TILE_BYTES", tile_bytes)
    monkeypatch.setattr(score_store, "KEPT_BYTES", 500)
    monkeypatch.setattr(average_precision, "_CELLS_AT_ONCE", cells_at_once)
    for cuts in ([0, 235, 235], [0, 0, 10, 235], [0, 1, 2, 120, 235]):
        parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        spread = on_ranks(
            len(parts),
            lambda comm, parts=parts: found(scores[parts[comm.rank]], cells[parts[comm.rank]], comm, threads),
        )
        for result in spread:
            assert result.per_class.tolist() == alone.per_class.tolist()
            assert result.pooled == alone.pooled
