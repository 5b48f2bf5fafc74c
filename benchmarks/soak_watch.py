"""What happens to a cluster during a soak: processes are killed at random, and their memory is looked at."""

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
from clusters import Node, processes_below, turn_off

_LOOK_S = 1.0
_PULSE_S = 0.005
_STALL_S = 0.02
_OFF_S = 5.0  # before a node is started again
KINDS = ("Python worker", "decoder", "executor", "node")


class Kill(NamedTuple):
    second: float  # of time.monotonic
    kind: str  # one of KINDS, or "driver"


class Sample(NamedTuple):
    second: float
    kind: str
    process: int
    mib: float  # resident


class Stall(NamedTuple):
    """This process, the server's too, did not run: what came in the meantime has the time of its end in the log."""

    start: float
    end: float


@dataclass
class Seen:
    kills: list[Kill] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)

    def feel(self, over: threading.Event) -> None:
        before = time.monotonic()
        while not over.wait(_PULSE_S):
            now = time.monotonic()
            if now - before > _PULSE_S + _STALL_S:
                self.stalls.append(Stall(before, now))
            before = now


@contextmanager
def watched(
    cluster: Path, nodes: int, kinds: Sequence[str], kills: int, pause_s: float, may_kill: Callable[[], bool]
) -> Iterator[Seen]:
    """Looks at the processes of the cluster that `standalone` keeps in `cluster`; while the block runs and `may_kill`
    says so, one is killed every `pause_s` on average, `kills` in all, of `kinds` in turn."""
    seen, over = Seen(), threading.Event()
    watch = _Watch(seen, cluster, nodes, kinds, kills, pause_s, may_kill)
    threads = [threading.Thread(target=run, args=(over,), daemon=True) for run in (watch.run, seen.feel)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


class _Watch:
    def __init__(
        self,
        seen: Seen,
        cluster: Path,
        nodes: int,
        kinds: Sequence[str],
        kills: int,
        pause_s: float,
        may_kill: Callable[[], bool],
    ) -> None:
        self._seen, self._cluster, self._nodes = seen, cluster, nodes
        self._kinds, self._pause_s, self._may_kill = kinds, pause_s, may_kill
        self._rng = random.Random(1)
        self._to_kill = itertools.islice(self._turns(), kills)
        self._next = next(self._to_kill, None)
        self._kill_at: float | None = None  # none before there is work to lose
        self._off: dict[int, tuple[float, Node]] = {}  # by number: when to start it again

    def run(self, over: threading.Event) -> None:
        while not over.wait(self._wait_s()):
            now = time.monotonic()
            found = self._look(now)
            for number, (at, node) in list(self._off.items()):
                if now >= at:
                    node.turn_on()
                    del self._off[number]
            if self._kill_at is None and found["Python worker"]:
                self._kill_at = self._later(now)
            if self._kill_at is not None and now >= self._kill_at and self._next is not None and self._may_kill():
                self._kill(self._next, found)

    def _turns(self) -> Iterator[str]:
        while True:
            yield from self._rng.sample(self._kinds, len(self._kinds))

    def _later(self, now: float) -> float:
        return now + self._rng.expovariate(1 / self._pause_s)

    def _wait_s(self) -> float:
        wait_s = _LOOK_S if self._kill_at is None else self._kill_at - time.monotonic()
        return wait_s if 0 < wait_s < _LOOK_S else _LOOK_S

    def _look(self, now: float) -> dict[str, list[psutil.Process]]:
        found = defaultdict[str, list[psutil.Process]](list)
        for process in processes_below(self._cluster):
            with suppress(psutil.NoSuchProcess):
                kind = _kind(process)
                if kind is not None:
                    found[kind].append(process)
                    mib = process.memory_info().rss / (1 << 20)
                    self._seen.samples.append(Sample(now, kind, process.pid, mib))
        return found

    def _kill(self, kind: str, found: dict[str, list[psutil.Process]]) -> None:
        if kind == "node":
            number = self._rng.randrange(self._nodes) + 1
            if number in self._off:
                return
            self._off[number] = time.monotonic() + _OFF_S, turn_off(self._cluster, number)
        elif found[kind]:
            self._rng.choice(found[kind]).kill()
        else:  # it is just being started
            return
        now = time.monotonic()
        self._seen.kills.append(Kill(now, kind))
        self._next, self._kill_at = next(self._to_kill, None), self._later(now)


def _kind(process: psutil.Process) -> str | None:
    command = " ".join(process.cmdline())
    if "CoarseGrainedExecutorBackend" in command:
        return "executor"
    if "ml_images.images.decoder" in command:
        return "decoder"
    parent = process.parent()
    # The daemon forks the workers; it is no worker itself.
    is_worker = "pyspark.daemon" in command and parent is not None and "pyspark.daemon" in " ".join(parent.cmdline())
    return "Python worker" if is_worker else None
