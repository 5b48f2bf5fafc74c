"""The connections that libcurl keeps for later requests: which are open, and may one carry another request?

Only if nothing is left on it of the answers before. A host that sends more than its Content-Length leaves bytes behind
that libcurl would take for the next answer: the picture of one URL would be stored under another. What waits in the
kernel is seen here before the next request is sent. Over TLS the rest may wait in OpenSSL's buffer, where nobody can
look. There it is noticed as noise when it comes instead of an answer (Exchange.is_spoiled), unless it was made to look
like one, by a host that answers for these URLs anyway.

libcurl closes an idle connection when it likes. Where a host's limit wants it closed now, its socket is shut down: the
host sees the end at once, libcurl when it next looks for a connection.
"""

import os
import select
import socket
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass

Name = tuple[str, int, str, int]
"""A connection's own address and port, and those of the host: connections to two hosts may share their own port."""

_FEW = 1024  # connections that may be remembered though they have ended


def local_name(file: int) -> tuple[str, int]:
    """A connection's own address and port."""
    sock = socket.socket(fileno=file)
    try:
        address, port = sock.getsockname()[:2]
        return address, port
    finally:
        sock.detach()  # the descriptor is libcurl's


def is_quiet(file: int) -> bool:
    """Does nothing wait to be read, not even the end?"""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return not poll.poll(0)


def shut_down(file: int) -> None:
    sock = socket.socket(fileno=file)
    try:
        with suppress(OSError):  # the host was quicker
            sock.shutdown(socket.SHUT_RDWR)
    finally:
        sock.detach()


@dataclass
class _Connection:
    file: int
    inode: int
    user: int = 0  # number of the request that went out on it last

    def is_open(self) -> bool:
        """libcurl does not say when it closes one; its descriptor may be somebody else's by now."""
        try:
            return os.fstat(self.file).st_ino == self.inode
        except OSError:
            return False


class Connections:
    """Those of one transport, by name; the idle ones also by host."""

    def __init__(self) -> None:
        self._new: dict[int, tuple[str, int]] = {}  # by inode: sockets that are not yet connecting
        self._open: dict[Name, _Connection] = {}
        self._idle: defaultdict[str, dict[Name, str]] = defaultdict(dict)  # by host: the origin that they lead to
        self._origins: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by host: idle ones to each origin
        self._look_at = _FEW

    def new(self, inode: int, address: str, port: int) -> None:
        """A socket for a connection to there."""
        self._new[inode] = address, port
        if len(self._new) > _FEW:  # those that failed at once are never heard of again
            del self._new[next(iter(self._new))]

    def opened(self, file: int) -> None:
        """libcurl begins to connect this one, or to wait for it otherwise."""
        inode = os.fstat(file).st_ino
        peer = self._new.pop(inode, None)
        if peer is None:
            return
        self._open[(*local_name(file), *peer)] = _Connection(file, inode)
        if len(self._open) > self._look_at:
            self._open = {name: known for name, known in self._open.items() if known.is_open()}
            self._look_at = 2 * len(self._open) + _FEW

    def take(self, host: str, name: Name, user: int) -> int | None:
        """The descriptor of the one that a request goes out on; None where nothing is known of it."""
        self._no_longer_idle(host, name)
        known = self._open.get(name)
        if known is None:
            return None
        known.user = user
        return known.file

    def rest(self, host: str, origin: str, name: Name, user: int) -> None:
        """This request on it is over; libcurl may have sent the next one before it told us."""
        known = self._open.get(name)
        if known is None or known.user != user:
            return
        if known.is_open():
            self._no_longer_idle(host, name)
            self._idle[host][name] = origin
            self._origins[host][origin] += 1
        else:
            del self._open[name]

    def num_idle(self, host: str) -> int:
        idle = self._idle.get(host)
        if idle is None:
            return 0
        for name in [name for name in idle if name not in self._open or not self._open[name].is_open()]:
            self._open.pop(name, None)
            self._no_longer_idle(host, name)
        return len(idle)

    def close_idle(self, host: str, most: int) -> None:
        """Close those beyond `most`, the one that has been idle for longest first."""
        surplus = self.num_idle(host) - most
        if surplus > 0:
            for name in list(self._idle[host])[:surplus]:
                self._close(host, name)

    def lead_elsewhere(self, host: str, origin: str) -> bool:
        """Do any idle ones of the host lead to another origin?"""
        origins = self._origins.get(host)
        return origins is not None and (len(origins) > 1 or origin not in origins)

    def make_way(self, host: str, origin: str) -> None:
        """A request is about to begin. It goes out on an idle connection to its origin; where all idle ones of the host
        lead to others, one of them ends for the one that is opened now."""
        origins = self._origins.get(host)
        if origins is not None and origin not in origins:
            self._close(host, next(iter(self._idle[host])))

    def _close(self, host: str, name: Name) -> None:
        self._no_longer_idle(host, name)
        known = self._open.pop(name, None)
        if known is not None and known.is_open():
            shut_down(known.file)

    def _no_longer_idle(self, host: str, name: Name) -> None:
        idle = self._idle.get(host)
        origin = idle.pop(name, None) if idle is not None else None
        if idle is None or origin is None:
            return
        origins = self._origins[host]
        origins[origin] -= 1
        if not origins[origin]:
            del origins[origin]
        if not idle:
            del self._idle[host], self._origins[host]
