import itertools
import math
import random
import threading
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ml_images.schemas import UNKNOWN
from ml_images.train import metrics
from ml_images.train.comm import LocalComm
from ml_images.train.metrics import average_precision, rank_classes


class ThreadComm(LocalComm):
    """One of several ranks that are threads of this process: enough of Comm for the metrics."""

    def __init__(self, rank: int, size: int, board: dict[str, dict[int, Tensor]], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.board, self.barrier = rank, size, board, barrier

    def _all(self, values: Tensor, name: str) -> list[Tensor]:
        self.board.setdefault(name, {})[self.rank] = values.clone()
        self.barrier.wait()
        found = [self.board[name][rank] for rank in range(self.size)]
        self.barrier.wait()
        return found

    def sum(self, values: Tensor, name: str) -> Tensor:
        return torch.stack(self._all(values, name)).sum(0)

    def gather(self, rows: Tensor, name: str) -> Tensor:
        return torch.cat(self._all(rows, name))


def on_ranks(size: int, work: Callable[[ThreadComm], metrics.Ranking]) -> list[metrics.Ranking]:
    board: dict[str, dict[int, Tensor]] = {}
    barrier = threading.Barrier(size, timeout=20)
    results: dict[int, metrics.Ranking] = {}
    comms = [ThreadComm(rank, size, board, barrier) for rank in range(size)]
    threads = [threading.Thread(target=lambda c=comm: results.update({c.rank: work(c)})) for comm in comms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[rank] for rank in range(size)]


def slow_average_precision(scores: list[float], targets: list[float]) -> float:
    """From the definition: one threshold for each distinct score, highest first."""
    known = [(s, t >= 0.5) for s, t in zip(scores, targets, strict=True) if t != UNKNOWN]
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


ROW = st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]), st.sampled_from([0.0, 0.4, 0.5, 1.0, UNKNOWN]))


@given(st.lists(ROW, min_size=1, max_size=30))
def test_average_precision_equals_the_definition_with_ties_and_unknowns(rows: list[tuple[float, float]]) -> None:
    scores, targets = [s for s, _ in rows], [t for _, t in rows]
    fast, positives, known = average_precision(torch.tensor(scores)[:, None], torch.tensor(targets)[:, None])
    assert float(fast) == pytest.approx(slow_average_precision(scores, targets), abs=1e-12, nan_ok=True)
    assert float(known) == sum(t != UNKNOWN for t in targets)
    assert float(positives) == sum(t >= 0.5 for t in targets)


def test_known_answers() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    ranking = rank_classes(scores, targets, LocalComm())
    assert ranking.average_precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert ranking.average_precision[1].isnan()  # no positive: skipped, not counted as 0
    assert ranking.scored.tolist() == [True, False]
    assert ranking.mean_average_precision == pytest.approx(5 / 6)
    assert ranking.prior == 0.5  # of the scored class alone
    assert ranking.rows == 4


def test_equal_scores_get_the_prior() -> None:
    targets = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    ranking = rank_classes(torch.zeros(4, 1), targets, LocalComm())
    assert ranking.mean_average_precision == ranking.prior == 0.25


def test_without_rows_nothing_is_scored() -> None:
    ranking = rank_classes(torch.zeros(0, 3), torch.zeros(0, 3), LocalComm())
    assert math.isnan(ranking.mean_average_precision)
    assert int(ranking.scored.sum()) == 0


@pytest.mark.parametrize("cells_at_once", [1, 70, 16_000_000])
def test_the_result_does_not_depend_on_how_rows_are_spread_over_ranks(
    cells_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "CELLS_AT_ONCE", cells_at_once)
    chance = random.Random(3)
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 12, (35, 7), generator=generator) / 4
    targets = torch.tensor([[chance.choice([0.0, 0.0, 1.0, 0.6, UNKNOWN]) for _ in range(7)] for _ in range(35)])
    alone = rank_classes(scores, targets, LocalComm())
    for cuts in ([0, 35, 35], [0, 0, 10, 35], [0, 1, 2, 20, 35]):
        parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        spread = on_ranks(
            len(parts),
            lambda comm, parts=parts: rank_classes(scores[parts[comm.rank]], targets[parts[comm.rank]], comm),
        )
        for ranking in spread:
            assert torch.equal(ranking.average_precision.nan_to_num(-1), alone.average_precision.nan_to_num(-1))
            assert torch.equal(ranking.positive_rate, alone.positive_rate)
            assert ranking.rows == 35
