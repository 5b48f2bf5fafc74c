"""The worker's side of the governor: a Gate that never waits for the network, as downloads go on meanwhile."""

import json
import select
import socket
import time
from contextlib import suppress
from types import TracebackType

from ml_images.download.gate import Pool
from ml_images.download.governor import GREETING_S, proof
from ml_images.download.host_limits import Lease
from ml_images.download.leases import Leases
from ml_images.download.progress import Progress

_CHUNK = 256 * 1024
_LOST_S = 60.0  # a governor that is silent for so long is gone
_AGE_S = 60.0  # clocks of two machines drift apart by some 50 microseconds a second at most: 3 ms
_PROGRESS_S = 0.5
_GOODBYE_S = 2.0
_UNGREETED = "the governor at {}:{} closed the connection (is it the right secret?)"


class GovernorLost(ConnectionError):
    """The driver's governor cannot be reached any more: the job is over, or this worker is cut off."""


class GovernedGate:
    """Context manager and Gate. `now` of every call is time.monotonic(); the governor's clock is estimated from the
    quickest exchange of late. Raises GovernorLost where nobody answers any more."""

    def __init__(self, address: tuple[str, int], secret: str, progress: Progress) -> None:
        self._address = address
        self._progress = progress
        try:
            self._connection = socket.create_connection(address, GREETING_S)
        except OSError as error:
            raise GovernorLost(f"no governor at {address[0]}:{address[1]}: {error}") from error
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._leases = Leases()
        self._received = bytearray()
        self._unsent = bytearray()
        self._offset_s, self._trip_s, self._measured = 0.0, float("inf"), 0.0  # governor's clock minus ours
        self._asked_at = self._next_at = 0.0
        self._progress_at = 0.0
        self._greet(secret)

    @property
    def pool(self) -> Pool | None:
        return self._leases.pool

    @pool.setter
    def pool(self, pool: Pool | None) -> None:
        self._leases.pool = pool

    def ask(self, host: str, now: float) -> float:
        wait = self._leases.ask(host, now + self._offset_s)
        if wait:
            self.tend(now)
        return wait

    def done(self, host: str, now: float, outcome: str, retry_after_s: float | None) -> None:
        self._leases.done(host, outcome, retry_after_s)

    def slow_down(self, host: str, interval_s: float) -> None:
        self._leases.slow_down(host, interval_s)

    def tend(self, now: float) -> None:
        if self._leases.awaited:
            self._receive(now)
            if self._leases.awaited and now > self._asked_at + _LOST_S:
                raise GovernorLost(f"the governor has not answered for {_LOST_S:.0f} s")
        if not self._leases.awaited and now >= self._next_at:
            self._ask_governor(now)

    def __enter__(self) -> "GovernedGate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._connection:
            if kind is None:
                self._connection.settimeout(_GOODBYE_S)
                with suppress(OSError):  # the last numbers of a moving line are not worth a failed task
                    self._connection.sendall(bytes(self._unsent) + _line([], self._progress.numbers()))
                    self._connection.shutdown(socket.SHUT_WR)
                    while self._connection.recv(_CHUNK):  # what is left unread would undo what was sent
                        pass

    def _lost(self, error: OSError | None) -> GovernorLost:
        # Before the first answer a reset is a refusal, too: it left unread what was sent meanwhile.
        if self._trip_s == float("inf"):
            return GovernorLost(_UNGREETED.format(*self._address))
        return GovernorLost(f"{self._named()} is gone: {error or 'it closed the connection'}")

    def _named(self) -> str:
        return f"the governor at {self._address[0]}:{self._address[1]}"

    def _greet(self, secret: str) -> None:
        try:
            with self._connection.makefile("rb") as lines:
                line = lines.readline()
            if not line:  # it has not even heard whether the secret is right
                raise GovernorLost(f"{self._named()} closed the connection at once")
            self._connection.sendall(proof(secret, json.loads(line)["nonce"]).encode() + b"\n")
            # The first exchange also measures the clocks, before any permit depends on them.
            asked = time.monotonic()
            self._connection.sendall(_line([], None))
        except OSError as error:
            raise self._lost(error) from error
        self._asked_at, self._leases.awaited = asked, True
        while self._leases.awaited:
            if not select.select([self._connection], [], [], GREETING_S)[0]:
                raise GovernorLost(f"{self._named()} does not answer")
            self._receive(time.monotonic())
        self._connection.setblocking(False)

    def _ask_governor(self, now: float) -> None:
        questions = self._leases.questions(now + self._offset_s)
        progress = self._progress.numbers() if now >= self._progress_at + _PROGRESS_S else None
        if not questions and progress is None:
            return
        if progress is not None:
            self._progress_at = now
        self._leases.awaited = True
        self._asked_at = time.monotonic()  # `now` may be a little old: this one measures the clocks
        self._unsent += _line(questions, progress)
        self._flush()

    def _receive(self, now: float) -> None:
        if self._unsent:
            self._flush()
        try:
            data = self._connection.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(None)
        self._received += data
        end = self._received.find(b"\n")
        if end < 0:
            return
        message = json.loads(bytes(self._received[:end]))
        del self._received[: end + 1]
        self._measure(message["now"])
        self._next_at = now + message["pause_s"]
        leases = [(host, Lease(*lent)) for host, *lent in message["leases"]]
        self._leases.answers(leases, now + self._offset_s)

    def _measure(self, governors_now: float) -> None:
        now = time.monotonic()
        trip = now - self._asked_at
        if trip <= self._trip_s or now > self._measured + _AGE_S:
            self._offset_s, self._trip_s, self._measured = governors_now - (now + self._asked_at) / 2, trip, now

    def _flush(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise self._lost(error) from error
        del self._unsent[:sent]


def _line(questions: list, progress: dict[str, int] | None) -> bytes:
    return json.dumps({"questions": questions, "progress": progress}).encode() + b"\n"
