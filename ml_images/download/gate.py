"""Permits per host, shared by everybody who downloads: at most so many requests a second and connections at a time.

Whoever wants to send a request asks first and tells afterwards how it went. The clock is the caller's.
"""

from typing import Protocol


class Pool(Protocol):
    """Who keeps connections open for requests to come: a host's limit holds for those too."""

    def num_idle(self, host: str) -> int:
        """Connections to the host that are open and carry no request."""

    def close_idle(self, host: str, most: int) -> None:
        """Close those beyond `most` now, before anybody else is told that he may open one."""


class Gate(Protocol):
    pool: Pool | None
    """Whose idle connections count; the user sets it."""

    def ask(self, host: str, now: float) -> float:
        """0.0: go, one request and one connection are taken. More: ask again in so many seconds. inf: the host's
        circuit has been open for longer than anybody wants to wait."""

    def done(self, host: str, now: float, outcome: str, retry_after_s: float | None) -> None:
        """Give the connection back and tell how the request went (a name of ml_images.outcomes)."""

    def slow_down(self, host: str, interval_s: float) -> None:
        """From now on at least so much time between two requests to the host (Crawl-delay of its robots.txt)."""

    def tend(self, now: float) -> None:
        """Hand back what is not used. Called every now and then, also when there is nothing to ask."""
