"""What waits for a permit of its host, host by host: one that may not be asked now holds no other back."""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ml_images.download.gate import Gate

_SHORTEST_S = 0.001  # a wait that a clock is certain to notice

T = TypeVar("T")


@dataclass
class _Queue(Generic[T]):
    waiting: deque[T] = field(default_factory=deque)
    is_askable: bool = False  # among the hosts whose turn comes
    wake_at: float = math.inf  # where it is not: when it will be
    moved_at: float = 0.0  # when one got its permit, or the first began to wait


class HostQueues(Generic[T]):
    """First in, first out for each host; hosts take turns. `patience_s` is how long a host may let nothing through."""

    def __init__(self, gate: Gate, patience_s: float) -> None:
        self._gate, self._patience_s = gate, patience_s
        self._queues: dict[str, _Queue[T]] = {}
        self._askable: deque[str] = deque()
        self._asleep: list[tuple[float, str]] = []  # heap; entries that no longer say a queue's wake_at are stale
        self._num = 0
        self.given_up: deque[tuple[T, str]] = deque()  # with the reason

    def __len__(self) -> int:
        return self._num

    def put(self, host: str, item: T, now: float, first: bool = False) -> None:
        queue = self._queues.get(host)
        if queue is None:
            queue = self._queues[host] = _Queue(moved_at=now)
            self._make_askable(host, queue)
        self._num += 1
        if first:
            queue.waiting.appendleft(item)
        else:
            queue.waiting.append(item)

    def wake(self, host: str) -> None:
        """Something about the host has changed: a connection came back."""
        queue = self._queues.get(host)
        if queue is not None and not queue.is_askable:
            self._make_askable(host, queue)

    def take(self, now: float) -> tuple[str, T] | None:
        """One that may go now, its permit taken; None where all have to wait."""
        while self._asleep and self._asleep[0][0] <= now:
            wake_at, host = heapq.heappop(self._asleep)
            queue = self._queues.get(host)
            if queue is not None and queue.wake_at == wake_at:
                self._make_askable(host, queue)
        while self._askable:
            host = self._askable.popleft()
            queue = self._queues[host]
            queue.is_askable = False
            wait_s = self._gate.ask(host, now)
            if wait_s == 0.0:
                return host, self._pop(host, queue, now)
            if wait_s > self._patience_s:
                self._give_up(
                    host, queue, "its circuit stays open" if wait_s == math.inf else f"it asks for {wait_s:.0f} s"
                )
            elif now - queue.moved_at > self._patience_s:
                self._give_up(host, queue, f"no permit for {now - queue.moved_at:.0f} s")
            else:
                queue.wake_at = now + max(wait_s, _SHORTEST_S)
                heapq.heappush(self._asleep, (queue.wake_at, host))
        return None

    @property
    def next_wake(self) -> float:
        """No sooner will `take` find anything, unless something is put or woken."""
        return self._asleep[0][0] if self._asleep else math.inf

    def _make_askable(self, host: str, queue: _Queue[T]) -> None:
        queue.is_askable, queue.wake_at = True, math.inf
        self._askable.append(host)

    def _pop(self, host: str, queue: _Queue[T], now: float) -> T:
        item = queue.waiting.popleft()
        self._num -= 1
        queue.moved_at = now
        if queue.waiting:
            self._make_askable(host, queue)
        else:
            del self._queues[host]
        return item

    def _give_up(self, host: str, queue: _Queue[T], reason: str) -> None:
        del self._queues[host]
        self._num -= len(queue.waiting)
        self.given_up.extend((item, f"{host}: {reason}") for item in queue.waiting)
