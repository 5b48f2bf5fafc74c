"""What fetches one hop for the crawler, as types: a request, its answer, and the loop that turns one into the other.

A transport judges nothing: it keeps the bounds (addresses, time, bytes), names what broke, and hands over the rest.
Redirects, retries, statuses and pictures are other modules' business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Headers = Mapping[str, str]
"""Lower-case names; repeated fields joined by ", "; values decoded as Latin-1, as RFC 9110, 5.5 has it."""


@dataclass(frozen=True, eq=False)
class Request:
    """One GET. `deadline` is of the transport's clock: by then all is over. `accept` is asked once the header is
    complete and before any body is read: None to read the body, else the outcome that makes it unwanted."""

    url: str
    deadline: float
    accept: Callable[[int, Headers], str | None]


@dataclass(frozen=True)
class Response:
    """How a request ended. `outcome`: "ok" for a complete answer whatever its status, else what `accept` said, or
    dns_error, connect_error, tls_error, timeout, truncated, too_large, address_refused, bad_url, http_error."""

    request: Request
    outcome: str
    detail: str  # one line for people
    status: int | None  # None and no headers where no whole header came
    headers: Headers
    body: bytes  # without content encoding; empty unless the outcome is ok
    elapsed_s: float  # since start(), with the waiting for names and connections


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
