"""One epoch of batches as every reader under measurement hands it out, and what is told of it in the last line.

start_s: from the creation of the process until imports are done, and start_cpu_s its CPU time until
then. first_s: from opening the reader to the first batch.
work_s: from opening to the last batch. steady: rows per second between the first and the last batch. Also how many rows
came and how many different ones, shape and type of the first batch, and the mean of all pixels (of every 16th row and
column: 0.1 ms a batch).
"""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from clock import Clock

_EVERY = 16


class EpochClock(Clock):
    """`ready()` before the reader is opened, `read()` to the end."""

    def ready(self) -> None:
        self._start_cpu_s = time.process_time()
        super().ready()

    def read(self, batches: Iterable[tuple[Sequence[Any], Any]]) -> None:
        """batches: (keys, images: torch uint8 (batch, 3, height, width)). Prints what is told."""
        keys, means, arrivals, sizes, first = [], [], [], [], None
        for some, images in batches:
            arrivals.append(time.clock_gettime(time.CLOCK_BOOTTIME))
            sizes.append(len(some))
            keys.extend(some)
            # By numpy: the threads that torch would start for it wait for more by running in circles.
            means.append(float(images[:, :, ::_EVERY, ::_EVERY].numpy().mean()))
            first = first or {"shape": list(images.shape), "dtype": str(images.dtype).removeprefix("torch.")}
        mean = sum(mean * size for mean, size in zip(means, sizes, strict=True)) / sum(sizes)
        self.tell(arrivals, sizes, distinct=len(set(keys)), mean=mean, **(first or {}))

    def tell(self, arrivals: Sequence[float], sizes: Sequence[int], **more: object) -> None:
        """arrivals: of each batch, by CLOCK_BOOTTIME; sizes: its rows."""
        took = arrivals[-1] - arrivals[0]
        told = {
            "start_s": self._ready - self._created,
            "start_cpu_s": self._start_cpu_s,
            "first_s": arrivals[0] - self._ready,
            "work_s": arrivals[-1] - self._ready,
            "steady": (sum(sizes) - sizes[0]) / took if took else 0.0,
            "rows": sum(sizes),
        }
        print("\n" + json.dumps(told | more), flush=True)
