"""What fetches one hop for the crawler, as types: a request, its answer, and the loop that turns one into the other.

A transport judges nothing: it keeps the bounds (addresses, time, bytes), names what broke, and hands over the rest.
Redirects, retries, statuses and pictures are other modules' business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ml_images.download.gate import Pool

RESEND = "resend"
"""The outcome of a request that a kept connection did not answer with HTTP: the host may have closed it at that moment,
or left something on it. It deserves one more sending over a new connection, for which somebody has to take a permit."""

Headers = Mapping[str, str]
"""Lower-case names; repeated fields joined by ", ", those of X-Robots-Tag by a line feed; values decoded as Latin-1, as
RFC 9110, 5.5 has it."""


@dataclass(frozen=True, eq=False)
class Request:
    """One GET. `deadline` is of the transport's clock: by then all is over, but for the time that a body had to wait
    for room (Network). `accept` is asked once the header is complete and before any body is read: None to read the
    body, else the outcome that makes it unwanted."""

    url: str
    deadline: float
    accept: Callable[[int, Headers], str | None]
    is_resent: bool = False  # over a new connection, whatever is kept
    is_robots_file: bool = False  # robots.MAX_BYTES of it are read, whatever a picture may take


@dataclass(frozen=True)
class Response:
    """How a request ended. `outcome`: "ok" for a complete answer whatever its status, else what `accept` said, or
    dns_error, connect_error, tls_error, timeout, truncated, too_large, address_refused, bad_url, http_error, RESEND."""

    request: Request
    outcome: str
    detail: str  # one line for people
    status: int | None  # None and no headers where no whole header came
    headers: Headers
    body: bytes  # without content encoding; empty unless the outcome is ok
    elapsed_s: float  # since start(), with the waiting for names and connections, without that for room


class Transport(Protocol):
    """Many requests at a time in one thread; nothing happens outside of `poll`."""

    def start(self, request: Request) -> None:
        """Take a request on; its response comes out of a later `poll`, exactly once."""

    def poll(self, timeout_s: float) -> list[Response]:
        """Wait until something is done, a watched file is readable, or the time is over. What is done comes back."""

    def watch(self, file: int) -> None:
        """`poll` also returns when this descriptor is readable."""

    def unwatch(self, file: int) -> None:
        """`poll` no longer looks at this descriptor. Call it before closing the file."""

    def now(self) -> float:
        """The clock of deadlines, in seconds."""

    @property
    def num_in_flight(self) -> int:
        """Requests started and not yet over."""

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of bodies held for requests under way."""

    def close(self) -> None:
        """End everything at once; requests under way get no response."""


@runtime_checkable
class Network(Pool, Protocol):
    """What a transport over real sockets has to be told and asked besides; a simulated one has none of it."""

    buffer_bytes: float
    """What bodies may take, here and elsewhere together; beyond that they are read no further (budget.py)."""

    bytes_elsewhere: int
    """What bodies take that were handed over already."""

    def knows(self, host: str) -> bool:
        """Can a request to the host begin at once, or fail at once? Else its name is looked up, and `poll` returns when
        that is done. So no permit is taken long before its request leaves."""

    def learned(self) -> list[str]:
        """Hosts that are known now and were not when they were asked for, each told once."""
