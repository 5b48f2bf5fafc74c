"""Who was asked for what and when, and how many connections were open: what tells whether a client kept to limits.

Times are of time.monotonic in the server's process; a host is what the client wrote into the Host field, port included.
Some 40 bytes a request.
"""

import json
from array import array
from collections import Counter
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Log:
    """A copy of the log. Row i of the first four arrays is a request, of the last three a connection."""

    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    host: np.ndarray  # int32, index into hosts
    path: np.ndarray  # int32, index into paths
    asked: np.ndarray  # float64, seconds
    done: np.ndarray  # float64: the last byte was handed to the kernel, or the connection ended; inf: not yet
    connection_host: np.ndarray  # int32, host of the connection's first request
    opened: np.ndarray  # float64
    closed: np.ndarray  # float64, inf: not yet

    def counts(self) -> Counter[tuple[str, str]]:
        """Requests for each (host, path)."""
        pairs, counts = np.unique(np.stack([self.host, self.path]), axis=1, return_counts=True)
        named = zip(pairs[0].tolist(), pairs[1].tolist(), counts.tolist(), strict=True)
        return Counter({(self.hosts[host], self.paths[path]): count for host, path, count in named})

    def times(self, host: str, path: str = "") -> np.ndarray:
        """When this host was asked, ascending; with `path` for that path only."""
        chosen = self.host == self._index(self.hosts, host)
        if path:
            chosen &= self.path == self._index(self.paths, path)
        return np.sort(self.asked[chosen])

    def most_in_a_second(self, host: str, window_s: float = 1.0) -> int:
        """Requests to this host within the busiest window of that length."""
        times = self.times(host)
        first = np.searchsorted(times, times - window_s, side="right")  # the window is open on its left
        return int((np.arange(len(times)) - first + 1).max(initial=0))

    def most_under_way(self, host: str) -> int:
        """Requests that were being answered by this host at one moment."""
        chosen = self.host == self._index(self.hosts, host)
        return _most_at_once(self.asked[chosen], self.done[chosen])

    def most_connections(self, host: str) -> int:
        """Connections to this host that were open at one moment, idle ones included."""
        chosen = self.connection_host == self._index(self.hosts, host)
        return _most_at_once(self.opened[chosen], self.closed[chosen])

    def to_json(self) -> bytes:
        columns = {name: value if isinstance(value, tuple) else value.tolist() for name, value in vars(self).items()}
        return json.dumps(columns).encode()  # inf as Infinity: Python's reader takes it

    @classmethod
    def from_json(cls, text: bytes) -> "Log":
        """What to_json wrote, e.g. the answer to a request for /-/log."""
        read: dict[str, Any] = json.loads(text)
        kinds: dict[str, type] = {"host": np.int32, "path": np.int32, "connection_host": np.int32}
        for name, values in read.items():
            read[name] = tuple(values) if name in ("hosts", "paths") else np.array(values, kinds.get(name, np.float64))
        return cls(**read)

    @staticmethod
    def _index(names: tuple[str, ...], name: str) -> int:
        return names.index(name) if name in names else -1


def _most_at_once(start: np.ndarray, end: np.ndarray) -> int:
    """The most intervals that hold one moment; one that ends where another starts is over."""
    # Of equal times the ends come first.
    order = np.lexsort((np.repeat([1, 0], [len(start), len(end)]), np.concatenate([start, end])))
    steps = np.repeat([1, -1], [len(start), len(end)])[order]
    return int(steps.cumsum().max(initial=0))


class Recorder:
    """The log while it grows: written by the server's thread, read by any."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hosts: dict[str, int] = {}
        self._paths: dict[str, int] = {}
        self._times = array("i")  # requests of each path
        self._host, self._path = array("i"), array("i")
        self._asked, self._done = array("d"), array("d")
        self._connection_host, self._opened, self._closed = array("i"), array("d"), array("d")

    def opened(self, host: str, when: float) -> int:
        """Note a connection at its first request; returns its number."""
        with self._lock:
            self._connection_host.append(self._hosts.setdefault(host, len(self._hosts)))
            self._opened.append(when)
            self._closed.append(np.inf)
            return len(self._closed) - 1

    def closed(self, connection: int) -> None:
        with self._lock:
            self._closed[connection] = monotonic()

    def asked(self, host: str, path: str) -> tuple[int, int]:
        """Note a request; returns its number, and how many there were for this path, this one included."""
        with self._lock:
            self._host.append(self._hosts.setdefault(host, len(self._hosts)))
            place = self._paths.setdefault(path, len(self._paths))
            if place == len(self._times):
                self._times.append(0)
            self._times[place] += 1
            self._path.append(place)
            self._asked.append(monotonic())
            self._done.append(np.inf)
            return len(self._done) - 1, self._times[place]

    def done(self, request: int) -> None:
        with self._lock:
            self._done[request] = monotonic()

    def requests(self) -> dict[str, int]:
        """How often each path was asked for, of all hosts."""
        with self._lock:
            return dict(zip(self._paths, self._times, strict=True))

    def log(self) -> Log:
        with self._lock:
            return Log(
                tuple(self._hosts),
                tuple(self._paths),
                *(np.array(self._host, np.int32), np.array(self._path, np.int32)),
                *(np.array(self._asked, np.float64), np.array(self._done, np.float64)),
                np.array(self._connection_host, np.int32),
                *(np.array(self._opened, np.float64), np.array(self._closed, np.float64)),
            )
