"""Average precision of each class, exact, over rows that are spread over ranks.

A class has the same score list whatever rank a row was on: ranks exchange some classes at a time, each computes the
ones that fall to it, and one sum at the end tells everybody. No rank holds the whole matrix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ml_images.schemas import UNKNOWN
from ml_images.train.comm import Comm

POSITIVE = 0.5  # least confidence that counts as present
CELLS_AT_ONCE = 16_000_000  # scores of one exchange: 64 MB as float32, about 600 MB while they are ranked


@dataclass(frozen=True)
class Ranking:
    """Average precision per class, NaN where no known row is positive, and what random scores would get."""

    average_precision: Tensor  # float64 (classes,)
    positive_rate: Tensor  # float64 (classes,), of the known rows; NaN where there are none
    rows: int

    @property
    def scored(self) -> Tensor:
        """Classes that have a positive: bool (classes,)."""
        return ~self.average_precision.isnan()

    @property
    def mean_average_precision(self) -> float:
        """The mean over the scored classes; NaN without any."""
        return float(self.average_precision[self.scored].mean())

    @property
    def prior(self) -> float:
        """The mean positive rate of the same classes: the mean average precision to expect of random scores."""
        return float(self.positive_rate[self.scored].mean())


def average_precision(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(average precision, positives, known rows) of each class, float64 (classes,) each.

    `scores` and `targets` are (rows, classes); UNKNOWN cells are left out. AP = sum over thresholds of (R_n - R_n-1)
    P_n, rows of equal score entering together, as in scikit-learn; NaN for a class without positives.
    """
    rows, classes = scores.shape
    known = targets != UNKNOWN
    positive = (targets >= POSITIVE) & known
    if rows == 0:
        zero = torch.zeros(classes, dtype=torch.float64)
        return torch.full_like(zero, torch.nan), zero, zero
    ranked, order = scores.sort(dim=0, descending=True)  # unknown rows stay in, with weight 0
    hits = positive.gather(0, order).double()
    found = hits.cumsum(0)
    seen = known.gather(0, order).double().cumsum(0)
    # A row counts with the precision at the last row of its own score.
    index = torch.arange(rows).unsqueeze(1).expand(rows, classes)
    last = torch.ones_like(known)
    last[:-1] = ranked[:-1] != ranked[1:]
    end = torch.where(last, index, rows).flip(0).cummin(0).values.flip(0)
    precision = found.gather(0, end) / seen.gather(0, end).clamp(min=1)
    positives = found[-1]
    return (hits * precision).sum(0) / positives, positives, seen[-1]  # 0 / 0 is NaN, as promised


def rank_classes(scores: Tensor, targets: Tensor, comm: Comm) -> Ranking:
    """The Ranking of all ranks' rows together, the same on every rank; this rank brings `scores` and `targets`."""
    classes = scores.shape[1]
    rows = int(comm.sum(torch.tensor([scores.shape[0]]), "metrics.rows"))
    at_once = max(1, min(CELLS_AT_ONCE // max(1, rows), -(-classes // comm.size)))
    totals = torch.zeros(3, classes, dtype=torch.float64)
    for turn, start in enumerate(range(0, classes, at_once)):
        part = slice(start, start + at_once)
        # One exchange for both: scores and targets side by side.
        both = comm.gather(torch.cat([scores[:, part], targets[:, part]], dim=1), f"metrics.part{turn}")
        if turn % comm.size == comm.rank:
            totals[:, part] = torch.stack(average_precision(*both.chunk(2, dim=1))).nan_to_num(nan=0.0)
    precision, positives, known = comm.sum(totals, "metrics.totals")
    return Ranking(torch.where(positives > 0, precision, torch.nan), positives / known, rows)
