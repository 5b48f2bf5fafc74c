"""Connections that obey two rules of their session: only checked addresses, and nothing after the deadline.

A socket's timeout bounds one call, so a server that drips a byte a second holds a reader for ever. Here every read from
the network, for headers or body, plain or TLS, gets what is left until the deadline (and never more than the read
timeout), so the total holds whatever the server does. Only the system's resolver keeps its own time.
"""

import functools
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from ml_images.download.address import Refusal, Resolve, checked_addresses


class Deadline:
    """What is left until `until` (of time.monotonic), and never more than `step_s` at once."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.until = float("inf")

    def left_s(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return min(left, self.step_s)


class BoundedSocket(socket.socket):
    """A socket whose every read ends at the deadline."""

    deadline: Deadline | None = None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self.deadline is not None:
            self.settimeout(self.deadline.left_s())
        return super().recv_into(*args, **kwargs)


class BoundedTlsSocket(BoundedSocket, ssl.SSLSocket):
    """The same over TLS: SSLSocket.recv_into comes next in line. OpenSSL's own calls
    (handshake, one record) each end at the socket's timeout.
    """


def dial(family: int, where: tuple, timeout_s: float) -> BoundedSocket:
    """A TCP connection to a socket address. Raises OSError."""
    sock = BoundedSocket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout_s)
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock


@functools.cache
def public_tls() -> ssl.SSLContext:
    """One context for the process: reading the 144 authorities takes 20 ms."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = BoundedTlsSocket
    return context


@dataclass(frozen=True)
class Network:
    """What touches the world: passed in, so that it can be another world."""

    resolve: Resolve = socket.getaddrinfo
    dial: Callable[[int, tuple, float], BoundedSocket] = dial
    tls: Callable[[], ssl.SSLContext] = public_tls


@dataclass(frozen=True)
class Rules:
    """What all connections of a session share. `deadline` is set anew for each URL; a session belongs to one thread."""

    network: Network
    allow_private: bool
    deadline: Deadline


class _CheckedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, rules: Rules, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rules = rules

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.rules)


class _CheckedHTTPSConnection(HTTPSConnection):
    def __init__(self, *args: Any, rules: Rules, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rules = rules

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.rules)

    def connect(self) -> None:
        super().connect()  # name, SNI and certificate check stay those of the host's name
        assert isinstance(self.sock, BoundedTlsSocket)
        self.sock.deadline = self.rules.deadline


class _CheckedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection


class CheckedPoolManager(PoolManager):
    """Pools of kept-alive connections, one connection a host and `num_pools` hosts, that follow `rules`."""

    def __init__(self, rules: Rules, num_pools: int) -> None:
        super().__init__(num_pools=num_pools, maxsize=1, ssl_context=rules.network.tls())
        self.rules = rules
        self.pool_classes_by_scheme = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}

    def _new_pool(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = super()._new_pool(*args, **kwargs)
        pool.conn_kw["rules"] = self.rules  # what every new connection of the pool is made with
        return pool


def _connect(connection: HTTPConnection, rules: Rules) -> socket.socket:
    """A connection to the first checked address of the host that answers. Raises Refusal."""
    host = connection._dns_host.strip("[]")
    timeout_s = connection.timeout
    assert isinstance(timeout_s, (int, float))
    assert connection.port is not None
    failure: OSError | None = None
    for family, where in checked_addresses(host, connection.port, rules.network.resolve, rules.allow_private):
        try:
            sock = rules.network.dial(family, where, min(rules.deadline.left_s(), timeout_s))
            sock.settimeout(min(rules.deadline.left_s(), timeout_s))  # the TLS handshake comes next
        except OSError as error:
            failure = error
            continue
        sock.deadline = rules.deadline
        return sock
    outcome = "timeout" if isinstance(failure, TimeoutError) else "connect_error"
    raise Refusal(outcome, f"{host}: {failure}") from failure
