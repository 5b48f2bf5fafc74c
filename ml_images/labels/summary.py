"""Mean, quantiles and Gini coefficient of counts, and what each of them is defined as."""

from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES_PERCENT = (1, 10, 25, 50, 75, 90, 99)

_Counts = npt.NDArray[np.int64]


def gini(values: _Counts, counts: _Counts) -> float:
    """Gini coefficient of `values` (ascending, not negative), each taken `counts` times: 0 all equal, to 1 one has all.

    One minus twice the area under the Lorenz curve (Gini 1912), by trapezoids. Their sum must not be 0.
    """
    held = np.concatenate(([0.0], np.cumsum(values * counts, dtype=np.float64)))
    return float(1 - np.sum(counts * (held[1:] + held[:-1])) / (counts.sum() * held[-1]))


def summarize(values: _Counts, counts: _Counts) -> dict[str, Any]:
    """Summary of `values` (ascending), each taken `counts` times; everything is None where there is nothing to sum up.

    A quantile is the smallest value that at least that share of all does not exceed, so always one that occurs.
    """
    values, counts = values[counts > 0], counts[counts > 0]
    n, total = int(counts.sum()), int(values @ counts)
    cumulated = np.cumsum(counts)
    ranks = {percent: max(1, -(-percent * n // 100)) for percent in QUANTILES_PERCENT}  # 1 to n, rounded up
    return {
        "n": n,
        "total": total,
        "mean": total / n if n else None,
        "min": int(values[0]) if n else None,
        "max": int(values[-1]) if n else None,
        "quantiles": {
            str(percent / 100): int(values[np.searchsorted(cumulated, rank)]) if n else None
            for percent, rank in ranks.items()
        },
        "gini": gini(values, counts) if total else None,
    }
