"""Planning one rank's epoch of a full-size data set, none of whose files exist.

    python benchmarks/engines/read_plan.py plain|replicated

17.6 million rows in 5,000 files of 14 row groups for 32 ranks: the order, the pieces of rank 0 and how many row groups
it holds. replicated: with factors and hashes of keys drawn at random, rounded as an epoch's.
"""

import json
import sys
import time

import numpy as np
from clock import Clock

from ml_images.train.order import EpochOrder
from ml_images.train.plan import Stretch
from ml_images.train.reader import most_held
from ml_images.train.replication import rounded

_ROWS, _FILES, _GROUPS, _RANKS, _BATCH = 17_609_752, 5_000, 14, 32, 64


class PlanClock(Clock):
    def tell(self, **more: object) -> None:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        print(json.dumps({"start_s": self._ready - self._created, "work_s": now - self._ready} | more), flush=True)


def main(kind: str) -> None:
    clock = PlanClock()
    groups = _FILES * _GROUPS
    rows = np.diff(np.arange(groups + 1, dtype=np.int64) * _ROWS // groups)
    drawn = []
    if kind == "replicated":
        random = np.random.default_rng(0)
        # As replication.py keeps them: an array for each row group.
        drawn = [
            (random.integers(0, 1 << 63, count, np.uint64), np.maximum(1, random.pareto(2, count)).astype(np.float32))
            for count in rows.tolist()
        ]
    clock.ready()
    copies = [rounded(factors, hashes, 1, 0) for hashes, factors in drawn]
    order = EpochOrder(
        np.array([part.sum() for part in copies], np.int64) if copies else rows, _RANKS, 1, 0, copies or None
    )
    steps = order.total // (_BATCH * _RANKS)
    stretch = Stretch(0, _RANKS, _BATCH, 0, steps)
    pieces = order.pieces(0, _RANKS, 0, stretch.end)
    held = most_held(pieces, _RANKS, stretch)
    clock.tell(rows=order.total, steps=steps, pieces=len(pieces), held=held)


if __name__ == "__main__":
    main(sys.argv[1])
