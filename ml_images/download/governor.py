"""The service in the driver that lends permits to all workers, so that a host's limits hold for the whole cluster.

A line of JSON each way. Greeting: the service sends a nonce, the client its HMAC-SHA256 by the shared secret, which so
never travels. Then, as often as the client likes:

    -> {"questions": [[host, want, keep, ...], ...], "progress": {...} or null}
    <- {"now": seconds, "pause_s": seconds to the next message, "leases": [[host, connections, ...], ...]}

Times are of the service's clock. A connection that ends, however, takes its client's permits back; that of a machine
that is gone without a word ends after half a minute.
"""

import hmac
import json
import secrets
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from types import TracebackType

from ml_images.download.config import PolitenessConfig
from ml_images.download.host_limits import HostLimits
from ml_images.download.leases import Question, answer, pause_s
from ml_images.download.progress import OF_THE_MOMENT

GREETING_S = 10.0  # to prove that one knows the secret
_LONGEST_GREETING = 256
_LONGEST = 4 * 2**20  # bytes of a message
_CHUNK = 256 * 1024
# Kernels ask each other whether they are still there, so a worker that is busy for minutes is no dead one.
_STILL_THERE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


def proof(secret: str, nonce: str) -> str:
    """What a client that knows the secret answers to a nonce."""
    return hmac.new(secret.encode(), nonce.encode(), "sha256").hexdigest()


@dataclass
class _Client:
    number: int
    connection: socket.socket
    nonce: str
    since: float
    known: bool = False  # has proved that it knows the secret
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    progress: dict[str, int] = field(default_factory=dict)


class Governor:
    """Context manager: serves on a free port of `host` from a thread of its own. `address` and `secret` go to the
    workers; whoever knows both gets permits."""

    def __init__(self, cfg: PolitenessConfig, host: str = "127.0.0.1") -> None:
        self.secret = secrets.token_hex(32)
        self._limits = HostLimits(cfg)
        self._listener = socket.create_server((host, 0), backlog=1024)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._listener.setblocking(False)
        self._bell, self._stop = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._clients: dict[int, _Client] = {}
        self._num_clients = 0
        self._left: Counter[str] = Counter()  # progress of clients that have gone
        self._lock = threading.Lock()  # of the clients' progress
        self._thread = threading.Thread(target=self._serve, name="governor", daemon=True)

    def progress(self) -> dict[str, int]:
        """The sum of what all clients told about their progress, those that have gone included."""
        with self._lock:
            total = Counter(self._left)
            for client in self._clients.values():
                total.update(client.progress)
            return dict(total)

    def __enter__(self) -> "Governor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            self._attend_all()
        finally:  # also where something broke: nobody shall wait for an answer that does not come
            for client in self._clients.values():
                client.connection.close()
            self._selector.close()
            self._listener.close()
            self._bell.close()

    def _attend_all(self) -> None:
        while True:
            for key, events in self._selector.select(1.0):
                if key.fileobj is self._bell:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._attend(key.data, events)
            now = time.monotonic()
            for client in [one for one in self._clients.values() if not one.known and now > one.since + GREETING_S]:
                self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again, or no more files: whoever it was tries again
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _STILL_THERE.items():
            if hasattr(socket, name):  # not all systems have all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._num_clients += 1
        client = _Client(self._num_clients, connection, secrets.token_hex(16), time.monotonic())
        with self._lock:
            self._clients[client.number] = client
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._send(client, {"nonce": client.nonce})

    def _attend(self, client: _Client, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(client)
            if events & selectors.EVENT_READ:
                data = client.connection.recv(_CHUNK)
                client.received += data
                if not data or len(client.received) > (_LONGEST if client.known else _LONGEST_GREETING):
                    self._drop(client)
                    return
                while client.number in self._clients and (end := client.received.find(b"\n")) >= 0:
                    line = bytes(client.received[:end])
                    del client.received[: end + 1]
                    self._hear(client, line)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop(client)

    def _hear(self, client: _Client, line: bytes) -> None:
        if not client.known:
            client.known = hmac.compare_digest(line, proof(self.secret, client.nonce).encode())
            if not client.known:
                self._drop(client)
            return
        message = json.loads(line)
        if message["progress"] is not None:
            with self._lock:
                client.progress = message["progress"]
        now = time.monotonic()
        questions = [Question(*asked) for asked in message["questions"]]
        leases = [[host, *astuple(lease)] for host, lease in answer(self._limits, client.number, questions, now)]
        pause = pause_s(len(self._clients))
        self._send(client, {"now": now, "pause_s": pause, "leases": leases})

    def _send(self, client: _Client, message: Mapping[str, object]) -> None:
        client.unsent += json.dumps(message).encode() + b"\n"
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.unsent[:sent]
        if len(client.unsent) > _LONGEST:
            self._drop(client)
            return
        more = selectors.EVENT_WRITE if client.unsent else 0
        self._selector.modify(client.connection, selectors.EVENT_READ | more, client)

    def _drop(self, client: _Client) -> None:
        with self._lock:
            if self._clients.pop(client.number, None) is None:
                return
            self._left.update({name: count for name, count in client.progress.items() if name not in OF_THE_MOMENT})
        self._selector.unregister(client.connection)
        client.connection.close()
        self._limits.leave(client.number)
