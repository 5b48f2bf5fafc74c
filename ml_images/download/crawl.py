"""The scheduler of one worker: from wishes to results, exactly one for each key, whatever the hosts do.

A URL is fetched once, for all keys that want it, however each spells it (url.same_place): those that want it while it
is under way wait for it, and later ones get what is remembered (results.Memory). So equal URLs should come one after
the other; of a long run of keys with the same first URL, the next ones are taken in when that URL has its result. A
picture that is no longer remembered is fetched again, and so is one of which a later key expects another size, digest
or rotation.

Nobody waits for anybody else. A URL that has to wait (for its host's address, for a permit, before a further attempt,
for robots.txt) does so in its host's queue or in a heap, at the tail (waiting.py); meanwhile new ones are taken in, up
to _WAITING_PER_SLOT for each of `in_flight`. Requests start while fewer than `in_flight` are under way, and while their
bodies (those before the decoder and those to be expected, taken to be as long as the recent ones) fit into
`buffer_bytes`. Where they turn out to be longer than that, the transport reads them no faster than there is room.

Time: `deadline_s` counts a URL's requests, redirects and back-offs, but not the waits for addresses, permits and room:
limits, ours or a host's own, must not make URLs time out. The first two have their own bound: a host that lets nothing
through, or wants to be left alone, for longer than PATIENCE * deadline_s is host_unavailable to the URLs that wait for
it, and so is one whose circuit stays open. A URL that has failed before in this run keeps that failure as its outcome.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Protocol

from ml_images.download import robots as robots_file
from ml_images.download import verdict
from ml_images.download.config import DownloadConfig
from ml_images.download.gate import Gate
from ml_images.download.keys import Fetched as Fetched
from ml_images.download.keys import Job, Keys
from ml_images.download.placeholder import is_placeholder_url
from ml_images.download.progress import Progress
from ml_images.download.redirect import target_of
from ml_images.download.repeated import Repeated, detail_of
from ml_images.download.results import Memory, Result
from ml_images.download.retry import next_wait, retry_after_s
from ml_images.download.robots import Robots
from ml_images.download.transport import RESEND, Headers, Network, Request, Response, Transport
from ml_images.download.url import parse_web_url, same_place
from ml_images.download.verdict import REDIRECT
from ml_images.download.waiting import Fetch, Waiter, Waiting
from ml_images.download.wanted import Candidate, Wanted
from ml_images.images.hashing import sha256
from ml_images.images.resize import Shrunk
from ml_images.images.sniff import sniff

_WAITING_PER_SLOT = 64  # some 2 KB each
_AT_ONCE = 64  # keys taken in before answers are looked at again
_KEYS_OF_A_RUN = 4096  # that wait for one URL together, some 0.8 KB each
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


def crawl(
    wanted: Iterable[Wanted],
    *,
    transport: Transport,
    gate: Gate,
    shrinker: Decoder,
    cfg: DownloadConfig,
    progress: Progress,
    robots: Robots | None = None,
    repeated: Repeated | None = None,
    each_round: Callable[[], None] = lambda: None,
    wall_clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Iterator[Fetched]:
    """Fetch all that is wanted; one result a key, in the order in which they are done.

    `robots` may live longer than one crawl. Transport, gate and shrinker are the caller's to close; a crawl that is
    given up leaves requests under way in them. A transport that is a Network learns how much room its bodies have, and
    the gate counts its idle connections. `each_round` is called some times a second, also while nothing is done.
    """
    known = robots if robots is not None else Robots(cfg.fetch.user_agent)
    network = transport if isinstance(transport, Network) else None
    crawling = _Crawl(transport, network, gate, shrinker, cfg, progress, known, repeated, wall_clock)
    if network is not None:
        network.buffer_bytes = cfg.buffer_bytes
    gate.pool = network
    transport.watch(shrinker.fileno())
    try:
        yield from crawling.run(wanted, each_round)
    finally:
        transport.unwatch(shrinker.fileno())
        gate.pool = None


@dataclass(frozen=True)
class _Run:
    """Neighbours that want the same URL first; `is_rest`: more of those that came before."""

    place: str
    keys: list[Wanted]
    is_rest: bool


class _Crawl:
    def __init__(
        self,
        transport: Transport,
        network: Network | None,
        gate: Gate,
        shrinker: Decoder,
        cfg: DownloadConfig,
        progress: Progress,
        robots: Robots,
        repeated: Repeated | None,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._transport, self._network, self._gate, self._shrinker = transport, network, gate, shrinker
        self._cfg, self._progress, self._robots, self._wall_clock = cfg, progress, robots, wall_clock
        self._repeated = repeated if repeated is not None else Repeated(0, frozenset())
        self._opt_outs_of = robots.product if cfg.politeness.opt_out else None
        self._keys = Keys(self._ask, progress, wall_clock)
        self._fetches: dict[str, Fetch] = {}  # by place: those that have no result yet
        self._waiting = Waiting(gate, network, robots if cfg.politeness.robots else None, cfg.fetch.deadline_s)
        self._tokens = itertools.count()
        self._under_way: dict[Request, Fetch] = {}
        self._decoding: dict[int, tuple[Fetch, list[Waiter], Result]] = {}
        self._memory = Memory(cfg.buffer_bytes // _MEMORY_SHARE)
        self._mean_bytes = float(min(_TYPICAL_BYTES, cfg.buffer_bytes))
        self._next: _Run | None = None  # before it is taken in
        self._exhausted = False

    def run(self, wanted: Iterable[Wanted], each_round: Callable[[], None]) -> Iterator[Fetched]:
        # All candidates of a key but the first are its own as a rule.
        runs = _runs(wanted)
        finished = self._keys.finished
        while True:
            self._start_what_may()
            num_taken = 0
            while num_taken < _AT_ONCE:
                run = self._next_run(runs) if self._has_room() else None
                if run is None:
                    break
                num_taken += len(run.keys)
                for one in run.keys:
                    self._keys.take_in(one)
                self._start_what_may()
            while finished:
                yield finished.popleft()
            if self._exhausted and not self._fetches:
                return
            if self._network is not None:
                self._network.bytes_elsewhere = self._shrinker.bytes_pending
            for response in self._transport.poll(0.0 if run is not None and self._has_room() else self._idle_s()):
                self._answered(self._under_way.pop(response.request), response)
            if self._network is not None:
                self._waiting.queues.learned(self._network.learned(), self._transport.now())
            for token, picture in self._shrinker.collect():
                self._decoded(token, picture)
            self._gate.tend(self._transport.now())
            self._show()
            each_round()

    # What keys want.

    def _next_run(self, runs: Iterator[_Run]) -> _Run | None:
        """The next keys to take in, none where they have to wait or there are no more."""
        if self._next is None:
            self._next = next(runs, None)
            self._exhausted = self._next is None
        run = self._next
        if run is None or (run.is_rest and run.place in self._fetches):
            return None
        self._next = None
        return run

    def _ask(self, job: Job, candidate: Candidate) -> Result | None:
        """The candidate's result, or None where the job waits for it from now on."""
        for ending in job.wanted.endings:
            if ending.url == candidate.url:
                return Result(ending.outcome, ending.detail, attempts=ending.attempts, elapsed_s=ending.elapsed_s)
        place = same_place(candidate.url)
        under_way = self._fetches.get(place)
        if under_way is not None:
            under_way.waiters.append((job, candidate))
            return None
        known = self._memory.get(place, candidate)
        if known is not None:
            return known
        try:
            url = parse_web_url(candidate.url)
        except ValueError as error:
            return Result("bad_url", str(error))
        fetch = self._fetches[place] = Fetch(place, url, url, [(job, candidate)])
        self._line_up(fetch)
        return None

    # Waiting and starting.

    def _line_up(self, fetch: Fetch) -> None:
        refused = self._waiting.line_up(fetch, self._transport.now())
        if refused is not None:
            self._fail(fetch, refused)

    def _has_room(self) -> bool:
        """May more keys be taken in?"""
        return not self._is_full() and len(self._waiting) < _WAITING_PER_SLOT * self._cfg.in_flight

    def _is_full(self) -> bool:
        num, decoding = len(self._under_way), self._shrinker.bytes_pending
        if num >= self._cfg.in_flight:
            return True
        expected = max(self._transport.bytes_in_flight, (num + 1) * self._mean_bytes)
        return bool(num or decoding) and expected + decoding > self._cfg.buffer_bytes

    def _start_what_may(self) -> None:
        now = self._transport.now()
        for fetch in self._waiting.due(now):
            self._line_up(fetch)
        queues = self._waiting.queues
        while not self._is_full():
            taken = queues.take(now)
            if taken is None:
                break
            self._start(taken[1], now)
        while queues.given_up:
            fetch, outcome, reason = queues.given_up.popleft()
            self._fail(fetch, fetch.failure or fetch.result(outcome, reason))

    def _start(self, fetch: Fetch, now: float) -> None:
        if fetch.hops == 0 and not fetch.is_resent:
            fetch.attempts += 1
            self._progress.retries += fetch.attempts > 1
        self._progress.requests += 1
        request = Request(
            fetch.here.text,
            now + self._cfg.fetch.deadline_s - fetch.spent_s,
            partial(self._accept, fetch),
            fetch.is_resent,
            fetch.robots_of is not None,
        )
        self._under_way[request] = fetch
        self._transport.start(request)

    def _accept(self, fetch: Fetch, status: int, headers: Headers) -> str | None:
        if fetch.robots_of is not None:
            return robots_file.of_head(status, headers)
        candidates = [candidate for _, candidate in fetch.waiters]
        fetch.num_judged = len(candidates)
        return verdict.of_head(status, headers, candidates, self._cfg.fetch, self._opt_outs_of)

    def _idle_s(self) -> float:
        """Until something has to be done even if nothing is heard."""
        next_at = self._waiting.next_wake(may_start=not self._is_full())
        return min(max(next_at - self._transport.now(), 0.0), _POLL_S)

    # Answers.

    def _answered(self, fetch: Fetch, response: Response) -> None:
        fetch.spent_s += response.elapsed_s
        wait_s = None
        if response.status is not None and response.status >= 400:
            wait_s = retry_after_s(response.headers.get("retry-after"), self._wall_clock())
        outcome = "connect_error" if response.outcome == RESEND else response.outcome
        self._gate.done(fetch.here.host, self._transport.now(), outcome, wait_s)
        self._waiting.queues.wake(fetch.here.host)
        fetch.is_resent = response.outcome == RESEND and not fetch.is_resent
        if fetch.is_resent:
            self._line_up(fetch)
        elif response.outcome == REDIRECT:
            self._redirected(fetch, response)
        elif outcome != "ok":
            self._failed(fetch, fetch.result(outcome, response.detail, response), wait_s)
        elif fetch.robots_of is not None:
            self._learn(fetch, "ok", response.status, response.body, "")
        else:
            self._judge(fetch, response)

    def _redirected(self, fetch: Fetch, response: Response) -> None:
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

    def _failed(self, fetch: Fetch, result: Result, wait_s: float | None) -> None:
        """An attempt failed: another one later, or the end."""
        left_s = self._cfg.fetch.deadline_s - fetch.spent_s
        again_s = next_wait(result.outcome, fetch.attempts, wait_s, left_s, self._cfg.fetch, fetch.start.text)
        if again_s is None:
            self._fail(fetch, result)
            return
        fetch.failure, fetch.hops = result, 0
        fetch.spent_s += again_s
        fetch.here = fetch.start
        self._waiting.put_off(fetch, self._transport.now() + again_s)

    def _fail(self, fetch: Fetch, result: Result) -> None:
        if fetch.robots_of is not None:
            outcome, detail = result.outcome, result.detail
            if fetch.hops and fetch.here.host != fetch.start.host:  # what is wrong there says nothing of this origin
                outcome = "host_unavailable" if outcome in robots_file.OF_THE_ORIGIN else outcome
                detail = f"redirected to {fetch.here.host}: {result.outcome}" + (f" ({detail})" if detail else "")
            self._learn(fetch, outcome, result.status, b"", detail)
            return
        del self._fetches[fetch.place]
        waiters, latecomers = fetch.waiters, list[Waiter]()
        if result.outcome == "changed":  # by its announced length: not what these expected, others may come since
            waiters, latecomers = fetch.waiters[: fetch.num_judged], fetch.waiters[fetch.num_judged :]
            for _, candidate in waiters:
                self._memory.judged(fetch.place, candidate, result)
        else:
            self._memory.failed(fetch.place, result)
        for job, candidate in waiters:
            self._keys.settle(job, candidate, result)
        for job, _ in latecomers:
            self._keys.go_on(job)

    def _learn(self, fetch: Fetch, outcome: str, status: int | None, body: bytes, detail: str) -> None:
        assert fetch.robots_of is not None
        rules = self._robots.learn(fetch.robots_of, outcome, status, body, detail, self._transport.now())
        if rules.interval_s is not None:
            self._gate.slow_down(fetch.start.host, rules.interval_s)
        for waiting in self._waiting.released(fetch.robots_of):
            self._line_up(waiting)

    # Bodies.

    def _judge(self, fetch: Fetch, response: Response) -> None:
        body = response.body
        self._mean_bytes += (len(body) - self._mean_bytes) / 50
        result = fetch.result("ok", "", response)
        self._progress.cpu.mark("fetch")
        result = replace(result, sha256=sha256(body) if body else None, original_bytes=len(body))
        self._progress.cpu.mark("hash")
        is_repeated = result.sha256 in self._repeated.digests
        is_picture = sniff(body) is not None
        alike: dict[object, list[Waiter]] = {}
        for waiter in fetch.waiters:
            alike.setdefault(waiter[1].expects, []).append(waiter)
        fetch.waiters.clear()  # who comes from now on asks the memory
        fetch.num_decoding = len(alike)
        for waiters in alike.values():
            candidate = waiters[0][1]
            outcome = verdict.of_body(body, candidate, is_picture, is_repeated)
            if outcome is not None:
                detail = detail_of(self._repeated.placeholder_keys) if is_repeated else result.detail
                self._judged(fetch, waiters, replace(result, outcome=outcome, detail=detail))
                continue
            token = next(self._tokens)
            self._decoding[token] = fetch, waiters, result
            self._shrinker.submit(token, body, candidate.rotation)

    def _decoded(self, token: int, picture: "Shrunk | Refusal") -> None:
        fetch, waiters, result = self._decoding.pop(token)
        if isinstance(picture, Shrunk):
            result = replace(result, picture=picture)
        else:
            result = replace(result, outcome=picture.outcome, detail=picture.detail)
        self._judged(fetch, waiters, result)

    def _judged(self, fetch: Fetch, waiters: list[Waiter], result: Result) -> None:
        self._memory.judged(fetch.place, waiters[0][1], result)
        fetch.num_decoding -= 1
        latecomers: list[Job] = []
        if fetch.num_decoding == 0:
            del self._fetches[fetch.place]
            latecomers = [job for job, _ in fetch.waiters]
        for job, candidate in waiters:
            self._keys.settle(job, candidate, result)
        for job in latecomers:
            self._keys.go_on(job)

    def _show(self) -> None:
        self._progress.in_flight = len(self._under_way)
        self._progress.waiting = len(self._waiting) - self._waiting.num_later
        self._progress.retrying = self._waiting.num_later
        self._progress.decoding = len(self._decoding)


def _runs(wanted: Iterable[Wanted]) -> Iterator[_Run]:
    for place, keys in itertools.groupby(wanted, key=_first_place):
        is_rest = False
        while together := list(itertools.islice(keys, _KEYS_OF_A_RUN)):
            yield _Run(place, together, is_rest)
            is_rest = True


def _first_place(wanted: Wanted) -> str:
    """Where the key is looked for first; the key itself where there is nothing to look for."""
    return same_place(wanted.candidates[0].url) if wanted.candidates else wanted.key
