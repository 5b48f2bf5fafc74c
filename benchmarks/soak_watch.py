"""What happens to a cluster during a soak: executors are killed at random, and the memory of workers is looked at."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_LOOK_S = 1.0


@dataclass
class Seen:
    killed: list[float] = field(default_factory=list)  # seconds after the start
    memory: list[tuple[float, float]] = field(default_factory=list)  # (second, MiB of the largest Python worker)

    def largest(self, first: float, last: float) -> float:
        """MiB of the largest worker between two shares of the time."""
        end = self.memory[-1][0] if self.memory else 0.0
        return max((mib for second, mib in self.memory if first * end <= second <= last * end), default=0.0)


@contextmanager
def watched(cluster: Path, kills: int, pause_s: float) -> Iterator[Seen]:
    """Looks at the executors of the cluster that `standalone` keeps in `cluster`; kills one every `pause_s` on average,
    `kills` in all, while the block runs."""
    seen, over = Seen(), threading.Event()
    thread = threading.Thread(target=_watch, args=(seen, over, cluster, kills, pause_s), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _watch(seen: Seen, over: threading.Event, cluster: Path, kills: int, pause_s: float) -> None:
    rng = random.Random(1)
    started = time.monotonic()
    next_kill: float | None = None  # none before there is work to lose
    while not over.wait(_LOOK_S):
        now = time.monotonic() - started
        executors, workers = _processes(cluster)
        if workers:
            seen.memory.append((now, max(workers)))
            if next_kill is None:
                next_kill = now + rng.expovariate(1 / pause_s)
        if executors and next_kill is not None and now >= next_kill and len(seen.killed) < kills:
            rng.choice(executors).kill()
            seen.killed.append(now)
            next_kill = now + rng.expovariate(1 / pause_s)


def _processes(cluster: Path) -> tuple[list[psutil.Process], list[float]]:
    """The executors' JVMs, and the MiB of each Python worker below them; only of this cluster."""
    executors, workers = [], []
    for process in _descendants(cluster):
        with suppress(psutil.NoSuchProcess):  # it ended while we looked
            command = " ".join(process.cmdline())
            if "CoarseGrainedExecutorBackend" in command:
                executors.append(process)
            elif "pyspark.daemon" in command:
                workers.append(process.memory_info().rss / (1 << 20))
    return executors, workers


def _descendants(cluster: Path) -> list[psutil.Process]:
    """Whatever the cluster's workers started."""
    found = []
    for file in cluster.glob("worker*.pid"):
        with suppress(psutil.NoSuchProcess):
            found += psutil.Process(int(file.read_text())).children(recursive=True)
    return found
