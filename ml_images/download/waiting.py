"""URLs under way, and those of them that have to wait before a request may start: for the robots.txt of their origin,
in their host's queue for its address and a permit, or for the time of a further attempt.
"""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ml_images.download.gate import Gate
from ml_images.download.host_queues import HostQueues
from ml_images.download.keys import Job
from ml_images.download.results import Result
from ml_images.download.robots import Robots, origin_of
from ml_images.download.transport import Network, Response
from ml_images.download.url import WebUrl, parse_web_url
from ml_images.download.wanted import Candidate

PATIENCE = 10  # times deadline_s
_TYPE_CHARS = 200  # of a Content-Type that are kept: a host may write 60,000


Waiter = tuple[Job, Candidate]


@dataclass(eq=False)
class Fetch:
    """One URL."""

    place: str  # url.same_place
    start: WebUrl
    here: WebUrl  # where its redirects have led
    waiters: list[Waiter] = field(default_factory=list)
    robots_of: str | None = None  # the origin whose robots.txt this is
    attempts: int = 0
    hops: int = 0
    spent_s: float = 0.0
    is_resent: bool = False  # the same request once more, over a new connection
    failure: Result | None = None  # of the attempt before
    num_decoding: int = 0
    num_judged: int = 0  # of the waiters: whose expectations its head was held against

    def result(self, outcome: str, detail: str = "", response: Response | None = None) -> Result:
        return Result(
            outcome,
            detail,
            final_url=self.here.text,
            status=response.status if response is not None else None,
            attempts=self.attempts,
            elapsed_s=self.spent_s,
            content_type=_told_type(response) if response is not None else None,
        )


def _told_type(response: Response) -> str | None:
    told = response.headers.get("content-type")
    return told if told is None else told[:_TYPE_CHARS]


class Waiting:
    """Those that wait. Without `robots` nobody's robots.txt is asked for."""

    def __init__(self, gate: Gate, network: Network | None, robots: Robots | None, deadline_s: float) -> None:
        self._robots = robots
        self.queues: HostQueues[Fetch] = HostQueues(gate, PATIENCE * deadline_s, network)
        self._later: list[tuple[float, int, Fetch]] = []  # heap of further attempts
        self._numbers = itertools.count()
        self._for_robots: dict[str, list[Fetch]] = {}  # by origin
        self.num_for_robots = 0

    def __len__(self) -> int:
        return len(self.queues) + len(self._later) + self.num_for_robots

    @property
    def num_later(self) -> int:
        return len(self._later)

    def line_up(self, fetch: Fetch, now: float) -> Result | None:
        """Into its host's queue; where the robots.txt of its origin is not known, that goes first. A result where
        robots.txt forbids it."""
        if self._robots is not None and fetch.robots_of is None:
            origin = origin_of(fetch.here)
            rules = self._robots.of(origin, now)
            if rules is None:
                self.num_for_robots += 1
                if origin in self._for_robots:
                    self._for_robots[origin].append(fetch)
                    return None
                self._for_robots[origin] = [fetch]
                file = parse_web_url(f"{origin}/robots.txt")
                fetch = Fetch(file.text, file, file, robots_of=origin)
            elif (refusal := self._robots.refusal(rules, fetch.here.text)) is not None:
                return fetch.result(*refusal)
        # What has begun goes on; what only begins joins the tail.
        first = fetch.hops > 0 or fetch.is_resent or fetch.robots_of is not None
        self.queues.put(fetch.here.host, fetch, now, first=first)
        return None

    def put_off(self, fetch: Fetch, until: float) -> None:
        heapq.heappush(self._later, (until, next(self._numbers), fetch))

    def due(self, now: float) -> Iterator[Fetch]:
        """Those whose time for a further attempt has come: they have to line up again."""
        while self._later and self._later[0][0] <= now:
            yield heapq.heappop(self._later)[2]

    def released(self, origin: str) -> list[Fetch]:
        """Those that waited for this origin's robots.txt: they have to line up again."""
        fetches = self._for_robots.pop(origin)
        self.num_for_robots -= len(fetches)
        return fetches

    def next_wake(self, may_start: bool) -> float:
        """No sooner is there anything to do for one that waits now."""
        retry_at = self._later[0][0] if self._later else math.inf
        return min(retry_at, self.queues.next_wake) if may_start else retry_at
