"""A web, its hosts' clocks and the workers that download from it, in virtual time: hours pass in seconds.

Everything but the network, the decoder and the clock is the library's own code: crawl, host limits, leases, robots.
Workers are threads of which one runs at a time, until it has nothing to do but wait; then time jumps to what
comes next. Also what the tests of the scheduler run on.
"""

import heapq
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from ml_images.download.config import DownloadConfig
from ml_images.download.crawl import Fetched, Refusal, crawl
from ml_images.download.gate import Pool
from ml_images.download.host_limits import HostLimits
from ml_images.download.leases import Leases, answer, pause_s
from ml_images.download.progress import Progress
from ml_images.download.robots import Robots
from ml_images.download.transport import Request, Response
from ml_images.download.wanted import Wanted
from ml_images.images.resize import Shrunk

START = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)


class Killed(Exception):
    """The worker dies here and now."""


@dataclass(frozen=True)
class Answer:
    """What a host does with one request: its header comes after `head_s`, its body `body_s` later."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "image/jpeg"})
    body: bytes = b""
    head_s: float = 0.1
    body_s: float = 0.0
    outcome: str = "ok"  # else: no answer, but this failure of the network after head_s


class Web:
    """Virtual time and what happens in it. `answer(url, visit)` is the network: visit 1 is the first for that URL."""

    def __init__(self, answer: Callable[[str, int], Answer]) -> None:
        self.now = 0.0
        self.answer = answer
        self.log: list[tuple[float, str]] = []  # requests, in order
        self.visits: Counter[str] = Counter()
        self.open: Counter[str] = Counter()  # connections now, by host
        self.most_open: Counter[str] = Counter()
        self.num_workers = 0
        self._events: list[tuple[float, int, Callable[[], Worker | None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, happens: Callable[[], "Worker | None"]) -> None:
        """Something happens, and may give a worker something to do."""
        heapq.heappush(self._events, (when, next(self._numbers), happens))

    def run(self, workers: Iterable["Worker"]) -> None:
        """Until all workers are done. Raises what a worker raised."""
        started = list(workers)
        self.num_workers = len(started)
        for worker in started:
            self.at(worker.starts_at, worker.wake)
        first = self._next_awake()
        assert first is not None
        for worker in started:
            worker.thread.start()
        first.turn.release()
        for worker in started:
            worker.thread.join()
        for worker in started:
            if worker.error is not None:
                raise worker.error

    def pass_on(self, me: "Worker", is_over: bool = False) -> None:
        """Let time go on until it is this worker's turn again."""
        other = self._next_awake()
        if other is me and not is_over:
            return
        if other is not None:
            other.turn.release()
        if not is_over:
            me.turn.acquire()

    def hosts_busiest_second(self) -> dict[str, int]:
        """The most requests that each host saw in any second."""
        times = defaultdict(list)
        for when, url in self.log:
            times[urlsplit(url).hostname or ""].append(when)
        return {host: busiest_second(sorted(whens)) for host, whens in times.items()}

    def _next_awake(self) -> "Worker | None":
        while self._events:
            when, _, happens = heapq.heappop(self._events)
            self.now = max(self.now, when)
            worker = happens()
            if worker is not None and not worker.is_over:
                return worker
        return None


def busiest_second(times: list[float]) -> int:
    """The most of the (ascending) times that lie in any half-open second."""
    first, most = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - 1.0 + 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


class Worker:
    """One Python worker: a crawl in a thread, with its transport, its decoder and its gate."""

    def __init__(
        self,
        web: Web,
        wanted: Iterable[Wanted],
        cfg: DownloadConfig,
        limits: HostLimits,
        *,
        number: int = 1,
        starts_at: float = 0.0,
        dies_at: float = float("inf"),
        decode_s: float = 0.0,
        judge: Callable[[bytes], Shrunk | Refusal] | None = None,
        skew_s: float = 0.0,
        trip_s: float = 0.001,
    ) -> None:
        self.web, self.starts_at, self.dies_at = web, starts_at, dies_at
        self.progress = Progress()
        self.fetched: list[Fetched] = []
        self.error: BaseException | None = None
        self.is_over = False
        self.turn = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.transport = SimulatedTransport(web, self)
        self.gate = SimulatedGate(web, self, limits, number, skew_s, trip_s)
        self.decoder = SimulatedDecoder(web, self, decode_s, judge or _a_picture)
        self._limits, self._number = limits, number
        self._ticket = 0
        self._is_asleep = True
        self._crawl = lambda: crawl(
            wanted,
            transport=self.transport,
            gate=self.gate,
            shrinker=self.decoder,
            cfg=cfg,
            progress=self.progress,
            robots=Robots(cfg.fetch.user_agent),
            wall_clock=lambda: START + timedelta(seconds=web.now),
        )

    def sleep(self, until: float) -> None:
        self._ticket += 1
        self._is_asleep = True
        ticket = self._ticket
        self.web.at(until, lambda: self.wake() if ticket == self._ticket else None)
        self.web.pass_on(self)
        if self.web.now >= self.dies_at:
            raise Killed

    def wake(self) -> "Worker | None":
        if not self._is_asleep:
            return None
        self._is_asleep = False
        return self

    def _run(self) -> None:
        self.turn.acquire()
        try:
            for fetched in self._crawl():
                self.fetched.append(fetched)
        except Killed:
            for request in self.transport.under_way:
                self.web.open[urlsplit(request.url).hostname or ""] -= 1
        except BaseException as error:  # noqa: BLE001 - brought to the thread that waits for all workers
            self.error = error
        self.is_over = True
        self._limits.leave(self._number)
        self.web.pass_on(self, is_over=True)


class SimulatedTransport:
    def __init__(self, web: Web, worker: Worker) -> None:
        self._web, self._worker = web, worker
        self.under_way: set[Request] = set()
        self.bytes_in_flight = 0
        self._done: list[Response] = []

    @property
    def num_in_flight(self) -> int:
        return len(self.under_way)

    def now(self) -> float:
        return self._web.now

    def start(self, request: Request) -> None:
        web, host = self._web, urlsplit(request.url).hostname or ""
        web.visits[request.url] += 1
        web.log.append((web.now, request.url))
        web.open[host] += 1
        web.most_open[host] = max(web.most_open[host], web.open[host])
        given = web.answer(request.url, web.visits[request.url])
        self.under_way.add(request)
        started = web.now

        def end(outcome: str, status: int | None, headers: Mapping[str, str], body: bytes) -> "Worker | None":
            if self._worker.is_over:
                return None
            self.under_way.remove(request)
            web.open[host] -= 1
            detail = "" if outcome == "ok" else "as simulated"
            self._done.append(Response(request, outcome, detail, status, headers, body, web.now - started))
            return self._worker.wake()

        def head() -> "Worker | None":
            if self._worker.is_over:
                return None
            if given.outcome != "ok":
                return end(given.outcome, None, {}, b"")
            refused = request.accept(given.status, given.headers)
            if refused is not None:
                return end(refused, given.status, given.headers, b"")
            web.at(
                min(web.now + given.body_s, request.deadline),
                lambda: end("ok" if web.now < request.deadline else "timeout", given.status, given.headers, given.body),
            )
            return None

        if started + given.head_s < request.deadline:
            web.at(started + given.head_s, head)
        else:
            web.at(max(request.deadline, started), lambda: end("timeout", None, {}, b""))

    def poll(self, timeout_s: float) -> list[Response]:
        if not self._done:
            self._worker.sleep(self._web.now + timeout_s)
        done, self._done = self._done, []
        return done

    def watch(self, file: int) -> None: ...

    def unwatch(self, file: int) -> None: ...

    def close(self) -> None: ...


class SimulatedGate:
    """The governor and the way to it: an answer takes `trip_s`, and the clock is wrong by `skew_s`."""

    def __init__(self, web: Web, worker: Worker, limits: HostLimits, number: int, skew_s: float, trip_s: float) -> None:
        self._web, self._worker, self._limits, self._number = web, worker, limits, number
        self._skew_s, self._trip_s = skew_s, trip_s
        self._leases = Leases()
        self._next_at = 0.0
        self.num_messages = 0
        self.pool: Pool | None = None  # nothing here keeps connections

    def ask(self, host: str, now: float) -> float:
        wait = self._leases.ask(host, now + self._skew_s)
        if wait:
            self.tend(now)
        return wait

    def done(self, host: str, now: float, outcome: str, retry_after_s: float | None) -> None:
        self._leases.done(host, outcome, retry_after_s)

    def slow_down(self, host: str, interval_s: float) -> None:
        self._leases.slow_down(host, interval_s)

    def tend(self, now: float) -> None:
        if now < self._next_at:
            return
        questions = self._leases.questions(now + self._skew_s)
        if not questions:
            return
        self.num_messages += 1
        self._next_at = now + self._trip_s + pause_s(self._web.num_workers)

        def arrive() -> None:
            if self._worker.is_over:
                return
            leases = answer(self._limits, self._number, questions, self._web.now)
            self._web.at(self._web.now + self._trip_s / 2, lambda: self._leases.answers(leases, self._web.now))

        self._web.at(now + self._trip_s / 2, arrive)


class SimulatedDecoder:
    """Takes `seconds` for each picture, one after the other."""

    def __init__(self, web: Web, worker: Worker, seconds: float, judge: Callable[[bytes], Shrunk | Refusal]) -> None:
        self._web, self._worker, self._seconds, self._judge = web, worker, seconds, judge
        self._free_at = 0.0
        self._done: list[tuple[int, Shrunk | Refusal]] = []
        self.bytes_pending = self.num_pending = 0
        self.most_pending = 0
        self.busy_s = 0.0

    def submit(self, token: int, data: bytes, rotation: int = 0) -> None:
        self.bytes_pending += len(data)
        self.num_pending += 1
        self.most_pending = max(self.most_pending, self.bytes_pending)
        self.busy_s += self._seconds
        self._free_at = max(self._free_at, self._web.now) + self._seconds

        def finish() -> "Worker | None":
            self.bytes_pending -= len(data)
            self.num_pending -= 1
            self._done.append((token, self._judge(data)))
            return self._worker.wake()

        self._web.at(self._free_at, finish)

    def collect(self) -> list[tuple[int, Shrunk | Refusal]]:
        done, self._done = self._done, []
        return done

    def fileno(self) -> int:
        return -1


def _a_picture(data: bytes) -> Shrunk:
    return Shrunk(data[:16], 4, 3, 8, 6, 0)


def one_by_one(values: Iterable[Wanted], workers: int) -> list[list[Wanted]]:
    """Shared out like cards."""
    hands: list[list[Wanted]] = [[] for _ in range(workers)]
    for place, value in enumerate(values):
        hands[place % workers].append(value)
    return hands
