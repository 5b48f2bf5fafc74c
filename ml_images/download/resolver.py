"""Names to checked addresses, off the loop: a few threads ask the system's resolver, which can only be waited for.

An answer is kept for `ttl_s` (getaddrinfo does not tell the record's own time), a failure much shorter; a name that is
being asked for is not asked for again. Answers that wait make `fileno()` readable, so a loop can sleep on it.
"""

import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from ml_images.download.address import Refusal, Resolve, checked_addresses

Found = tuple[str, ...] | Refusal
"""Addresses in the resolver's order, each of them allowed, or why there are none."""

_MAX_KEPT = 65_536  # names; a list of all of Open Images has fewer than ten hosts, a crawl of the web very many


class Resolver:
    """For one thread. At most `threads` questions are asked at a time; the threads start as they are needed."""

    def __init__(
        self,
        resolve: Resolve = socket.getaddrinfo,
        *,
        allow_private: bool = False,
        threads: int = 16,
        ttl_s: float = 300.0,
        failure_ttl_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._max_threads = threads
        self._ttl_s = ttl_s
        self._failure_ttl_s = failure_ttl_s
        self._clock = clock
        self._kept: dict[str, tuple[float, Found]] = {}  # name -> (good until, answer), oldest first
        self._asked: set[str] = set()
        self._questions: SimpleQueue[str | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[str, Found | None]] = SimpleQueue()
        self._num_threads = 0
        self._wake = _Bell()

    def known(self, host: str) -> Found | None:
        """The answer that is still good, None without one."""
        until, found = self._kept.get(host, (0.0, None))
        return found if found is not None and self._clock() < until else None

    def ask(self, host: str) -> None:
        """Have the name looked up; the answer comes out of `collect`."""
        if host in self._asked:
            return
        self._asked.add(host)
        self._questions.put(host)
        if self._num_threads < min(len(self._asked), self._max_threads):
            self._num_threads += 1
            # daemon: a question that hangs must not hold up the end of the process.
            threading.Thread(target=self._answer, name="resolver", daemon=True).start()

    def collect(self) -> list[tuple[str, Found]]:
        """The answers that came since the last time. Raises RuntimeError where the resolve function broke."""
        self._wake.clear()
        came: list[tuple[str, Found]] = []
        while not self._answers.empty():
            host, found = self._answers.get()
            if found is None:
                raise RuntimeError(f"the resolver broke on {host}; its thread has said how")
            self._asked.discard(host)
            self._keep(host, found)
            came.append((host, found))
        return came

    def fileno(self) -> int:
        return self._wake.fileno()

    def close(self) -> None:
        """Threads that wait end now, a thread whose question hangs ends with it; nobody waits for them."""
        while not self._questions.empty():
            self._questions.get_nowait()
        for _ in range(self._num_threads):
            self._questions.put(None)
        self._wake.close()

    def _keep(self, host: str, found: Found) -> None:
        self._kept.pop(host, None)
        if len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        ttl_s = self._failure_ttl_s if isinstance(found, Refusal) else self._ttl_s
        self._kept[host] = (self._clock() + ttl_s, found)

    def _answer(self) -> None:
        while (host := self._questions.get()) is not None:
            found: Found | None = None
            try:
                found = self._look_up(host)
            finally:  # whatever happened, somebody waits for it
                self._answers.put((host, found))
                self._wake.ring()

    def _look_up(self, host: str) -> Found:
        try:
            addresses = checked_addresses(host, 0, self._resolve, self._allow_private)
        except Refusal as refusal:
            return refusal
        return tuple(dict.fromkeys(where[0] for _, where in addresses))


class _Bell:
    """A descriptor that other threads make readable. The lock keeps them from writing to one that is closed, whose
    number may by then be somebody else's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening, self._ringing = socket.socketpair()
        self._listening.setblocking(False)
        self._ringing.setblocking(False)
        self._rung = False

    def ring(self) -> None:
        with self._lock:
            if not self._rung and self._ringing.fileno() >= 0:
                self._rung = True
                self._ringing.send(b"!")

    def clear(self) -> None:
        with self._lock:
            if self._rung:
                self._listening.recv(1)
                self._rung = False

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        with self._lock:
            self._listening.close()
            self._ringing.close()
