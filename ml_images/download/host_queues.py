"""What waits for a permit of its host, host by host: one that may not be asked now holds no other back.

A permit is asked for when its request can leave, so not before the host's address is known: requests that had their
permits while they waited for a name would all leave together, more of them in a second than the host's limit allows.
What still lies between a permit and the request's arrival is the time to connect, for those that find no idle
connection.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ml_images.download.gate import Gate
from ml_images.download.transport import Network

_SHORTEST_S = 0.001  # a wait that a clock is certain to notice
_NAME_S = 1.0  # between two looks at a host whose address is not known; as a rule it is woken

T = TypeVar("T")


@dataclass
class _Queue(Generic[T]):
    waiting: deque[T] = field(default_factory=deque)
    is_askable: bool = False  # among the hosts whose turn comes
    wake_at: float = math.inf  # where it is not: when it will be
    moved_at: float = 0.0  # when one got its permit, or the first began to wait
    unknown_since: float | None = None  # from when on its address has been asked for


class HostQueues(Generic[T]):
    """First in, first out for each host; hosts take turns. `patience_s` is how long a host may let nothing through, or
    have no address."""

    def __init__(self, gate: Gate, patience_s: float, network: Network | None = None) -> None:
        self._gate, self._patience_s, self._network = gate, patience_s, network
        self._queues: dict[str, _Queue[T]] = {}
        self._askable: deque[str] = deque()
        self._asleep: list[tuple[float, str]] = []  # heap; entries that no longer say a queue's wake_at are stale
        self._num = 0
        self._learned_at = -math.inf  # any address
        self.given_up: deque[tuple[T, str, str]] = deque()  # with outcome and reason

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

    def learned(self, hosts: Iterable[str], now: float) -> None:
        """Their addresses, or that they have none, are known now."""
        for host in hosts:
            self._learned_at = now
            self.wake(host)

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
            if self._network is not None and not self._is_known(self._network, host, queue, now):
                continue
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
                self._sleep(host, queue, now + max(wait_s, _SHORTEST_S))
        return None

    @property
    def next_wake(self) -> float:
        """No sooner will `take` find anything, unless something is put or woken."""
        return self._asleep[0][0] if self._asleep else math.inf

    def _is_known(self, network: Network, host: str, queue: _Queue[T], now: float) -> bool:
        if network.knows(host):
            queue.unknown_since = None
            return True
        queue.unknown_since = now if queue.unknown_since is None else queue.unknown_since
        # Only so many names are looked up at a time: while answers come, this one may not have had its turn.
        waited_s = now - max(queue.unknown_since, self._learned_at)
        if waited_s > self._patience_s:
            self._give_up(host, queue, f"no address for {waited_s:.0f} s", "dns_error")
        else:
            self._sleep(host, queue, now + _NAME_S)
        return False

    def _sleep(self, host: str, queue: _Queue[T], until: float) -> None:
        queue.wake_at = until
        heapq.heappush(self._asleep, (until, host))

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

    def _give_up(self, host: str, queue: _Queue[T], reason: str, outcome: str = "host_unavailable") -> None:
        del self._queues[host]
        self._num -= len(queue.waiting)
        self.given_up.extend((item, outcome, f"{host}: {reason}") for item in queue.waiting)
