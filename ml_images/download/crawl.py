"""The scheduler of one worker: from wishes to results, exactly one for each key, whatever the hosts do.

A URL is fetched once, for all keys that want it: those that want it while it is under way wait for it, and later ones
get what is remembered (results.Memory). So equal URLs should come one after the other; a run of keys with the same
first URL is always taken in one piece, however long. A picture that is no longer remembered is fetched again, and so is
one of which a later key expects another size, digest or rotation.

Nobody waits for anybody else. A URL that has to wait (for a permit of its host, before a retry, for robots.txt) does so
in its host's queue or in a heap, at the tail; meanwhile new ones are taken in, up to _WAITING_PER_SLOT for each of
`in_flight`. Requests start while fewer than `in_flight` are under way, and while their bodies (those before the decoder
and those to be expected, taken to be as long as the recent ones) fit into `buffer_bytes`.

Time: `deadline_s` counts a URL's requests, redirects and back-offs, but not the wait for permits: a limit of a host,
ours or its own, must not make its URLs time out. That wait has its own bound: a host that lets nothing through, or
wants to be left alone, for longer than PATIENCE * deadline_s is host_unavailable to the URLs that wait for it, and so
is one whose circuit stays open. A URL that has failed before in this run keeps that failure as its outcome.

A key is ok as soon as one candidate is. Else its outcome is that of its last candidate, but for one that deserves
another run where any does: a mirror's 404 must not hide that the original was rate-limited.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import Protocol

from ml_images.download import robots as robots_file
from ml_images.download import verdict
from ml_images.download.config import DownloadConfig
from ml_images.download.gate import Gate
from ml_images.download.host_queues import HostQueues
from ml_images.download.placeholder import is_placeholder_url
from ml_images.download.progress import Progress
from ml_images.download.redirect import target_of
from ml_images.download.results import Memory, Result
from ml_images.download.retry import next_wait, retry_after_s
from ml_images.download.robots import Robots, origin_of
from ml_images.download.transport import Headers, Request, Response, Transport
from ml_images.download.url import WebUrl, parse_web_url
from ml_images.download.verdict import REDIRECT
from ml_images.download.wanted import Candidate, Wanted
from ml_images.images.hashing import sha256
from ml_images.images.resize import Shrunk
from ml_images.images.sniff import sniff
from ml_images.outcomes import RETRYABLE

PATIENCE = 10
_WAITING_PER_SLOT = 64  # some 2 KB each
_AT_ONCE = 64  # runs of keys taken in before answers are looked at again
_POLL_S = 0.25  # permits are handed back at least so often
_TYPICAL_BYTES = 256 * 1024  # of a body, before any was seen
_MEMORY_SHARE = 8  # of buffer_bytes for pictures that another key may want, the same for failures


class Refusal(Protocol):
    """As images.shrinker.Refused."""

    @property
    def outcome(self) -> str: ...

    @property
    def detail(self) -> str: ...


class Decoder(Protocol):
    """What is asked of images.shrinker.Shrinker."""

    @property
    def bytes_pending(self) -> int: ...

    def submit(self, token: int, data: bytes, rotation: int = 0) -> None: ...

    def collect(self) -> "Sequence[tuple[int, Shrunk | Refusal]]": ...

    def fileno(self) -> int: ...


@dataclass(frozen=True)
class Fetched:
    """What a row of `images` says. `attempts` and `elapsed_ms` are of all URLs that the key needed, without the waits
    for permits; an attempt is a request and the redirects that it leads to. Keys that share a URL all tell of it."""

    key: str
    outcome: str
    detail: str
    url: str | None
    final_url: str | None
    status: int | None
    attempts: int
    elapsed_ms: int
    content_type: str | None
    sha256: bytes | None
    original_bytes: int | None
    fetched_at: datetime
    picture: Shrunk | None


@dataclass
class _Job:
    """One key."""

    wanted: Wanted
    place: int = 0  # of the candidate that is tried
    attempts: int = 0
    elapsed_s: float = 0.0
    verdict: tuple[Candidate, Result] | None = None  # unless a candidate is better


@dataclass(eq=False)
class _Fetch:
    """One URL."""

    url: str  # as wanted
    start: WebUrl
    here: WebUrl  # where its redirects have led
    waiters: list[tuple[_Job, Candidate]] = field(default_factory=list)
    robots_of: str | None = None  # the origin whose robots.txt this is
    attempts: int = 0
    hops: int = 0
    spent_s: float = 0.0
    failure: Result | None = None  # of the attempt before
    num_decoding: int = 0

    def result(self, outcome: str, detail: str = "", response: Response | None = None) -> Result:
        return Result(
            outcome,
            detail,
            final_url=self.here.text,
            status=response.status if response is not None else None,
            attempts=self.attempts,
            elapsed_s=self.spent_s,
            content_type=response.headers.get("content-type") if response is not None else None,
        )


def crawl(
    wanted: Iterable[Wanted],
    *,
    transport: Transport,
    gate: Gate,
    shrinker: Decoder,
    cfg: DownloadConfig,
    progress: Progress,
    robots: Robots | None = None,
    wall_clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Iterator[Fetched]:
    """Fetch all that is wanted; one result a key, in the order in which they are done.

    `robots` may live longer than one crawl. Transport, gate and shrinker are the caller's to close; a crawl that is
    given up leaves requests under way in them.
    """
    known = robots if robots is not None else Robots(cfg.fetch.user_agent)
    crawling = _Crawl(transport, gate, shrinker, cfg, progress, known, wall_clock)
    transport.watch(shrinker.fileno())
    try:
        yield from crawling.run(wanted)
    finally:
        transport.unwatch(shrinker.fileno())


class _Crawl:
    def __init__(
        self,
        transport: Transport,
        gate: Gate,
        shrinker: Decoder,
        cfg: DownloadConfig,
        progress: Progress,
        robots: Robots,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._transport, self._gate, self._shrinker = transport, gate, shrinker
        self._cfg, self._progress, self._robots, self._wall_clock = cfg, progress, robots, wall_clock
        self._opt_outs_of = robots.product if cfg.politeness.opt_out else None
        self._fetches: dict[str, _Fetch] = {}  # by URL: those that have no result yet
        self._queues: HostQueues[_Fetch] = HostQueues(gate, PATIENCE * cfg.fetch.deadline_s)
        self._later: list[tuple[float, int, _Fetch]] = []  # heap of retries
        self._numbers = itertools.count()
        self._for_robots: dict[str, list[_Fetch]] = {}  # by origin
        self._num_for_robots = 0
        self._under_way: dict[Request, _Fetch] = {}
        self._decoding: dict[int, tuple[_Fetch, list[_Job], Candidate, Result]] = {}
        self._memory = Memory(cfg.buffer_bytes // _MEMORY_SHARE)
        self._mean_bytes = float(min(_TYPICAL_BYTES, cfg.buffer_bytes))
        self._finished: deque[Fetched] = deque()

    def run(self, wanted: Iterable[Wanted]) -> Iterator[Fetched]:
        # All candidates of a key but the first are its own as a rule.
        runs = itertools.groupby(wanted, key=lambda one: one.candidates[0].url if one.candidates else None)
        exhausted = False
        while True:
            self._start_what_may()
            for _ in range(_AT_ONCE):
                if exhausted or not self._has_room():
                    break
                run = next(runs, None)
                exhausted = run is None
                for one in run[1] if run is not None else ():
                    self._progress.started += 1
                    self._try_next(_Job(one))
                self._start_what_may()
            while self._finished:
                yield self._finished.popleft()
            if exhausted and not self._fetches:
                return
            for response in self._transport.poll(0.0 if not exhausted and self._has_room() else self._idle_s()):
                self._answered(self._under_way.pop(response.request), response)
            for token, picture in self._shrinker.collect():
                self._decoded(token, picture)
            self._gate.tend(self._transport.now())
            self._show()

    # Keys and their candidates.

    def _try_next(self, job: _Job) -> None:
        """Put the key's next candidate on its way, or finish the key."""
        candidates = job.wanted.candidates
        while job.place < len(candidates):
            candidate = candidates[job.place]
            under_way = self._fetches.get(candidate.url)
            if under_way is not None:
                under_way.waiters.append((job, candidate))
                return
            known = self._memory.get(candidate)
            if known is None:
                try:
                    place = parse_web_url(candidate.url)
                except ValueError as error:
                    known = Result("bad_url", str(error))
                else:
                    fetch = self._fetches[candidate.url] = _Fetch(candidate.url, place, place, [(job, candidate)])
                    self._line_up(fetch)
                    return
            if self._ends(job, candidate, known):
                return
        if job.verdict is None:
            self._finish(job, None, Result("no_url"))
        else:
            self._finish(job, *job.verdict)

    def _settle(self, job: _Job, candidate: Candidate, result: Result) -> None:
        if not self._ends(job, candidate, result):
            self._try_next(job)

    def _ends(self, job: _Job, candidate: Candidate, result: Result) -> bool:
        """Note a candidate's result; True where the key is finished by it."""
        job.attempts += result.attempts
        job.elapsed_s += result.elapsed_s
        if result.outcome == "ok":
            self._finish(job, candidate, result)
            return True
        job.place += 1
        if job.verdict is None or result.outcome in RETRYABLE or job.verdict[1].outcome not in RETRYABLE:
            job.verdict = candidate, result
        return False

    def _finish(self, job: _Job, candidate: Candidate | None, result: Result) -> None:
        self._progress.count_key(result.outcome)
        self._finished.append(
            Fetched(
                key=job.wanted.key,
                outcome=result.outcome,
                detail=result.detail,
                url=candidate.url if candidate is not None else None,
                final_url=result.final_url,
                status=result.status,
                attempts=job.attempts,
                elapsed_ms=min(round(job.elapsed_s * 1000), 2**31 - 1),
                content_type=result.content_type,
                sha256=result.sha256,
                original_bytes=result.original_bytes,
                fetched_at=self._wall_clock(),
                picture=result.picture,
            )
        )

    # Waiting and starting.

    def _line_up(self, fetch: _Fetch) -> None:
        """Into its host's queue; where the robots.txt of its origin is not known, that goes first."""
        now = self._transport.now()
        if self._cfg.politeness.robots and fetch.robots_of is None:
            origin = origin_of(fetch.here)
            rules = self._robots.of(origin, now)
            if rules is None:
                self._num_for_robots += 1
                if origin in self._for_robots:
                    self._for_robots[origin].append(fetch)
                    return
                self._for_robots[origin] = [fetch]
                file = parse_web_url(f"{origin}/robots.txt")
                fetch = _Fetch(file.text, file, file, robots_of=origin)
            elif (refusal := self._robots.refusal(rules, fetch.here.text)) is not None:
                self._fail(fetch, fetch.result(*refusal))
                return
        # What has begun goes on; what only begins joins the tail.
        self._queues.put(fetch.here.host, fetch, now, first=fetch.hops > 0 or fetch.robots_of is not None)

    def _has_room(self) -> bool:
        """May more keys be taken in?"""
        num_waiting = len(self._queues) + len(self._later) + self._num_for_robots
        return not self._is_full() and num_waiting < _WAITING_PER_SLOT * self._cfg.in_flight

    def _is_full(self) -> bool:
        num, decoding = len(self._under_way), self._shrinker.bytes_pending
        if num >= self._cfg.in_flight:
            return True
        expected = max(self._transport.bytes_in_flight, (num + 1) * self._mean_bytes)
        return bool(num or decoding) and expected + decoding > self._cfg.buffer_bytes

    def _start_what_may(self) -> None:
        now = self._transport.now()
        while self._later and self._later[0][0] <= now:
            self._line_up(heapq.heappop(self._later)[2])
        while not self._is_full():
            taken = self._queues.take(now)
            if taken is None:
                break
            self._start(taken[1], now)
        while self._queues.given_up:
            fetch, reason = self._queues.given_up.popleft()
            self._fail(fetch, fetch.failure or fetch.result("host_unavailable", reason))

    def _start(self, fetch: _Fetch, now: float) -> None:
        if fetch.hops == 0:
            fetch.attempts += 1
            self._progress.retries += fetch.attempts > 1
        self._progress.requests += 1
        request = Request(
            fetch.here.text, now + self._cfg.fetch.deadline_s - fetch.spent_s, partial(self._accept, fetch)
        )
        self._under_way[request] = fetch
        self._transport.start(request)

    def _accept(self, fetch: _Fetch, status: int, headers: Headers) -> str | None:
        if fetch.robots_of is not None:
            return robots_file.of_head(status, headers)
        candidates = [candidate for _, candidate in fetch.waiters]
        return verdict.of_head(status, headers, candidates, self._cfg.fetch, self._opt_outs_of)

    def _idle_s(self) -> float:
        """Until something has to be done even if nothing is heard."""
        retry_at = self._later[0][0] if self._later else math.inf
        next_at = retry_at if self._is_full() else min(retry_at, self._queues.next_wake)
        return min(max(next_at - self._transport.now(), 0.0), _POLL_S)

    # Answers.

    def _answered(self, fetch: _Fetch, response: Response) -> None:
        fetch.spent_s += response.elapsed_s
        wait_s = None
        if response.status in (429, 503):
            wait_s = retry_after_s(response.headers.get("retry-after"), self._wall_clock())
        self._gate.done(fetch.here.host, self._transport.now(), response.outcome, wait_s)
        self._queues.wake(fetch.here.host)
        if response.outcome == REDIRECT:
            self._redirected(fetch, response)
        elif response.outcome != "ok":
            self._failed(fetch, fetch.result(response.outcome, response.detail, response), wait_s)
        elif fetch.robots_of is not None:
            self._learn(fetch, "ok", response.status, response.body, "")
        else:
            self._judge(fetch, response)

    def _redirected(self, fetch: _Fetch, response: Response) -> None:
        target = target_of(fetch.here.text, response.headers["location"])
        most = robots_file.MAX_REDIRECTS if fetch.robots_of is not None else self._cfg.fetch.max_redirects
        result = None
        if target is None:
            result = fetch.result("redirect_error", f"to {response.headers['location'][:200]!r}", response)
        elif fetch.robots_of is None and is_placeholder_url(target.text):
            result = replace(fetch.result("placeholder", "known by its URL", response), final_url=target.text)
        elif fetch.hops >= most:
            result = fetch.result("redirect_error", f"more than {most} redirects", response)
        elif fetch.spent_s >= self._cfg.fetch.deadline_s:
            result = fetch.result("timeout", "the deadline passed between redirects", response)
        if result is not None or target is None:
            assert result is not None
            self._failed(fetch, result, None)
            return
        fetch.hops += 1
        fetch.here = target
        self._line_up(fetch)

    def _failed(self, fetch: _Fetch, result: Result, wait_s: float | None) -> None:
        """An attempt failed: another one later, or the end."""
        left_s = self._cfg.fetch.deadline_s - fetch.spent_s
        again_s = next_wait(result.outcome, fetch.attempts, wait_s, left_s, self._cfg.fetch, fetch.url)
        if again_s is None:
            self._fail(fetch, result)
            return
        fetch.failure, fetch.hops = result, 0
        fetch.spent_s += again_s
        fetch.here = fetch.start
        heapq.heappush(self._later, (self._transport.now() + again_s, next(self._numbers), fetch))

    def _fail(self, fetch: _Fetch, result: Result) -> None:
        if fetch.robots_of is not None:
            self._learn(fetch, result.outcome, result.status, b"", result.detail)
            return
        del self._fetches[fetch.url]
        if result.outcome == "changed":  # by its announced length: not what these expected
            for _, candidate in fetch.waiters:
                self._memory.judged(candidate, result)
        else:
            self._memory.failed(fetch.url, result)
        self._count(fetch, result)
        for job, candidate in fetch.waiters:
            self._settle(job, candidate, result)

    def _learn(self, fetch: _Fetch, outcome: str, status: int | None, body: bytes, detail: str) -> None:
        assert fetch.robots_of is not None
        rules = self._robots.learn(fetch.robots_of, outcome, status, body, detail, self._transport.now())
        if rules.interval_s is not None:
            self._gate.slow_down(fetch.start.host, rules.interval_s)
        released = self._for_robots.pop(fetch.robots_of)
        self._num_for_robots -= len(released)
        for waiting in released:
            self._line_up(waiting)

    def _judge(self, fetch: _Fetch, response: Response) -> None:
        body = response.body
        self._mean_bytes += (len(body) - self._mean_bytes) / 50
        result = fetch.result("ok", "", response)
        result = replace(result, sha256=sha256(body) if body else None, original_bytes=len(body))
        is_picture = sniff(body) is not None
        wishes: dict[Candidate, list[_Job]] = {}
        for job, candidate in fetch.waiters:
            wishes.setdefault(candidate, []).append(job)
        fetch.waiters.clear()  # who comes from now on asks the memory
        fetch.num_decoding = len(wishes)
        for candidate, jobs in wishes.items():
            outcome = verdict.of_body(body, candidate, is_picture)
            if outcome is not None:
                self._judged(fetch, jobs, candidate, replace(result, outcome=outcome))
                continue
            token = next(self._numbers)
            self._decoding[token] = fetch, jobs, candidate, result
            self._shrinker.submit(token, body, candidate.rotation)

    def _decoded(self, token: int, picture: "Shrunk | Refusal") -> None:
        fetch, jobs, candidate, result = self._decoding.pop(token)
        if isinstance(picture, Shrunk):
            result = replace(result, picture=picture)
        else:
            result = replace(result, outcome=picture.outcome, detail=picture.detail)
        self._judged(fetch, jobs, candidate, result)

    def _judged(self, fetch: _Fetch, jobs: list[_Job], candidate: Candidate, result: Result) -> None:
        self._memory.judged(candidate, result)
        self._count(fetch, result)
        fetch.num_decoding -= 1
        latecomers: list[_Job] = []
        if fetch.num_decoding == 0:
            del self._fetches[fetch.url]
            latecomers = [job for job, _ in fetch.waiters]
        for job in jobs:
            self._settle(job, candidate, result)
        for job in latecomers:
            self._try_next(job)

    def _count(self, fetch: _Fetch, result: Result) -> None:
        self._progress.count_url(fetch.start.host, result.outcome)

    def _show(self) -> None:
        self._progress.in_flight = len(self._under_way)
        self._progress.waiting = len(self._queues) + self._num_for_robots
        self._progress.retrying = len(self._later)
        self._progress.decoding = len(self._decoding)
