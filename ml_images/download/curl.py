"""The transport over libcurl: one thread, one epoll, any number of requests in flight on a bounded number of sockets.

A request waits for its name (resolver.py), then for one of `connections` handles, then libcurl drives it. The loop is
ours, so that files of others can be watched in it. libcurl keeps the time of connecting; deadlines and silences are
kept here by one sweep over all requests, exact to 20 ms, so that no kind of drip can hold a request longer.
"""

import math
import select
import socket
import time
from collections import defaultdict, deque
from pathlib import Path

import certifi
import pycurl

from ml_images.download.address import Refusal, Resolve, check_address
from ml_images.download.budget import Budget
from ml_images.download.config import FetchConfig
from ml_images.download.exchange import Exchange
from ml_images.download.header import content_coding
from ml_images.download.kept import Connections
from ml_images.download.packed import unpacked
from ml_images.download.resolver import Found, Resolver
from ml_images.download.transport import Request, Response
from ml_images.download.url import WebUrl, is_address, parse_web_url
from ml_images.errors import InputError

_SWEEP_S = 0.02  # at least so long between two looks at all requests; also how late a deadline may be kept
_SWEEP_LATEST_S = 0.2
_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class _Job:
    """A request under way: without an exchange it waits for its name or for a handle."""

    __slots__ = ("addresses", "exchange", "is_over", "request", "started", "url")

    def __init__(self, request: Request, url: WebUrl, started: float) -> None:
        self.request, self.url, self.started = request, url, started
        self.addresses: tuple[str, ...] = ()
        self.exchange: Exchange | None = None
        self.is_over = False

    def due(self) -> float:
        return self.exchange.due() if self.exchange else self.request.deadline


class CurlTransport:
    """A Transport and a Network (see transport.py). `connections` requests at most are on the wire at a time, the
    others wait their turn; as many connections are kept for the next requests, so twice as many sockets may be open.
    `ca_file` holds the authorities (PEM) that servers are verified by; without one, those of certifi. Close it when
    done."""

    def __init__(
        self,
        cfg: FetchConfig,
        *,
        resolve: Resolve = socket.getaddrinfo,
        ca_file: str | None = None,
        connections: int = 256,
        resolver_threads: int = 16,
    ) -> None:
        if ca_file is not None and not Path(ca_file).is_file():
            raise InputError(f"no file of certificate authorities: {ca_file}")
        self._cfg = cfg
        self._ca_file = ca_file or certifi.where()
        self._connections = connections
        self._done: list[Response] = []
        self._packed: deque[Response] = deque()  # complete, to be unpacked
        self._jobs: dict[_Job, None] = {}  # in the order of their start
        self._naming: defaultdict[str, list[_Job]] = defaultdict(list)
        self._queue: deque[_Job] = deque()
        self._active: dict[pycurl.Curl, _Job] = {}
        self._idle: list[Exchange] = []
        self._num_begun = 0
        self._undecided = False  # some of them have no connection yet
        self._budget = Budget()
        self._sweep_at = math.inf
        self._curl_at = math.inf
        self._sockets: set[int] = set()
        self._kept = Connections()
        self._watched: set[int] = set()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._mind_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._mind_time)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._asked_for: set[str] = set()  # hosts that the user wants to know of
        self._learned: list[str] = []
        self._resolver = Resolver(resolve, allow_private=cfg.allow_private, threads=resolver_threads)
        self._epoll = select.epoll()
        self._epoll.register(self._resolver.fileno(), select.EPOLLIN)

    def start(self, request: Request) -> None:
        now = self.now()
        try:
            url = parse_web_url(request.url)
        except ValueError as error:
            self._done.append(Response(request, "bad_url", str(error), None, {}, b"", 0.0))
            return
        job = _Job(request, url, now)
        self._jobs[job] = None
        if now >= request.deadline:
            self._finish(job, "timeout", "the deadline has passed")
            return
        self._sweep_at = min(self._sweep_at, request.deadline)
        found = self._addresses(url)
        if found is None:
            self._naming[url.host].append(job)
            self._resolver.ask(url.host)
        else:
            self._go(job, found)

    def poll(self, timeout_s: float) -> list[Response]:
        until = self.now() + timeout_s
        woken = False
        self._unpack_one()
        self._ration()
        while True:
            woken |= self._turn(0.0 if self._done else until - self.now())
            self._unpack_one()
            if self._done or woken or self.now() >= until:
                done, self._done = self._done, []
                self._budget.taken -= sum(len(response.body) for response in done)
                return done

    def watch(self, file: int) -> None:
        self._epoll.register(file, select.EPOLLIN)
        self._watched.add(file)

    def unwatch(self, file: int) -> None:
        self._watched.remove(file)
        self._epoll.unregister(file)

    def now(self) -> float:
        return time.monotonic()

    @property
    def num_in_flight(self) -> int:
        return len(self._jobs)

    @property
    def bytes_in_flight(self) -> int:
        return self._budget.taken

    @property
    def buffer_bytes(self) -> float:
        return self._budget.most

    @buffer_bytes.setter
    def buffer_bytes(self, number: float) -> None:
        self._budget.most = number

    @property
    def bytes_elsewhere(self) -> int:
        return self._budget.elsewhere

    @bytes_elsewhere.setter
    def bytes_elsewhere(self, number: int) -> None:
        self._budget.elsewhere = number

    def knows(self, host: str) -> bool:
        if is_address(host) or self._resolver.known(host) is not None:
            return True
        self._asked_for.add(host)
        self._resolver.ask(host)
        return False

    def learned(self) -> list[str]:
        learned, self._learned = self._learned, []
        return learned

    def num_idle(self, host: str) -> int:
        self._have_chosen()
        return self._kept.num_idle(host)

    def close_idle(self, host: str, most: int) -> None:
        self._have_chosen()
        self._kept.close_idle(host, most)

    def close(self) -> None:
        for job in self._active.values():
            assert job.exchange is not None
            self._multi.remove_handle(job.exchange.handle)
            job.exchange.handle.close()
        for exchange in self._idle:
            exchange.handle.close()
        self._multi.close()
        self._resolver.close()
        self._epoll.close()
        self._jobs.clear()
        self._active.clear()
        self._idle.clear()

    def _turn(self, wait_s: float) -> bool:
        """Wait once and do what there is to do. True where a watched file is readable."""
        at = min(self._curl_at, self._sweep_at)
        wait_s = max(min(wait_s, at - self.now()), 0.0)
        woken = False
        for file, events in self._epoll.poll(wait_s):
            if file in self._watched:
                woken = True
            elif file == self._resolver.fileno():
                for host, found in self._resolver.collect():
                    for job in self._naming.pop(host, ()):
                        self._go(job, found)
                    if host in self._asked_for:
                        self._asked_for.remove(host)
                        self._learned.append(host)
                        woken = True
            else:
                self._multi.socket_action(file, _action(events))
        if self.now() >= self._curl_at:
            self._curl_at = math.inf
            self._undecided = False
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._reap()
        if self.now() >= self._sweep_at:
            self._sweep()
        self._ration()
        return woken

    def _unpack_one(self) -> None:
        """One of the bodies that came packed, if there is room or everything else has been handed over."""
        is_idle = not self._budget.elsewhere and not any(response.body for response in self._done)
        if self._packed and (self._budget.room > 0 or is_idle):
            packed = self._packed.popleft()
            self._done.append(unpacked(packed, self._cfg.max_bytes))
            self._budget.taken += len(self._done[-1].body) - len(packed.body)

    def _ration(self) -> None:
        self._budget.let_go_on(is_handing_over=bool(self._done))

    def _addresses(self, url: WebUrl) -> Found | None:
        if not url.is_address:
            return self._resolver.known(url.host)
        try:
            check_address(url.host, url.host, self._cfg.allow_private)
        except Refusal as refusal:
            return refusal
        return (url.host,)

    def _go(self, job: _Job, found: Found) -> None:
        if job.is_over:  # its deadline came before its name
            return
        if isinstance(found, Refusal):
            self._finish(job, found.outcome, str(found))
            return
        job.addresses = found
        self._queue.append(job)
        self._launch()

    def _launch(self) -> None:
        while self._queue and len(self._active) < self._connections:
            job = self._queue.popleft()
            if job.is_over:
                continue
            exchange = self._idle.pop() if self._idle else self._new_exchange()
            job.exchange = exchange
            self._active[exchange.handle] = job
            self._num_begun += 1
            if self._kept.lead_elsewhere(job.url.host, job.url.origin):
                self._have_chosen()
                self._kept.make_way(job.url.host, job.url.origin)
            exchange.begin(job.request, job.url, job.addresses, self._num_begun)
            self._multi.add_handle(exchange.handle)
            self._undecided = True
            self._sweep_at = min(self._sweep_at, self.now() + _SWEEP_LATEST_S)

    def _have_chosen(self) -> None:
        """Have libcurl choose connections for the requests that it was just given: those are no longer idle."""
        if self._undecided:
            self._undecided = False
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._curl_at = 0.0  # what ended by that is not to wait for an event

    def _new_exchange(self) -> Exchange:
        return Exchange(self._cfg, self._ca_file, self._budget, self.now, self._kept)

    def _reap(self) -> None:
        """Take what libcurl has finished."""
        left = 1
        while left:
            left, whole, broken = self._multi.info_read()
            for handle, code, message in [*((handle, pycurl.E_OK, "") for handle in whole), *broken]:
                job = self._active[handle]
                exchange = job.exchange
                assert exchange is not None
                self._multi.remove_handle(handle)
                if exchange.is_spoiled():  # that connection is gone now; the next kept one, or a new one
                    exchange.again()
                    self._multi.add_handle(handle)
                    self._undecided = True
                    continue
                del self._active[handle]
                outcome, detail, body = exchange.end(code, message)
                self._finish(job, outcome, detail, body)
        self._launch()

    def _sweep(self) -> None:
        """End what is due, and find out when to look again."""
        now = self.now()
        next_due = math.inf
        for job in list(self._jobs):
            due = job.due()
            if due > now:
                next_due = min(next_due, due)
                continue
            if job.exchange is None:
                self._finish(job, "timeout", "no address and no free connection before the deadline")
                continue
            del self._active[job.exchange.handle]
            self._multi.remove_handle(job.exchange.handle)  # which closes the connection
            late = job.exchange.is_late(now)
            why = "the deadline has passed" if late else f"nothing came for {self._cfg.read_timeout_s:g} s"
            self._finish(job, *job.exchange.give_up(why))
        self._sweep_at = max(now + _SWEEP_S, min(next_due, now + _SWEEP_LATEST_S)) if self._jobs else math.inf
        self._launch()

    def _finish(self, job: _Job, outcome: str, detail: str, body: bytes = b"") -> None:
        exchange, elapsed_s = job.exchange, self.now() - job.started
        status, headers = (exchange.status, exchange.headers) if exchange else (None, {})
        if exchange is not None:
            elapsed_s -= exchange.paused_s
            if exchange.connection is not None:
                self._kept.rest(job.url.host, job.url.origin, exchange.connection, exchange.number)
            exchange.forget()
            self._idle.append(exchange)
        job.exchange, job.is_over = None, True
        del self._jobs[job]
        response = Response(job.request, outcome, detail, status, headers, body, elapsed_s)
        is_packed = bool(body) and content_coding(headers) != ""
        (self._packed if is_packed else self._done).append(response)

    def _mind_socket(self, what: int, file: int, multi: object, data: object) -> None:
        """libcurl's wish to hear of a socket."""
        if what == pycurl.POLL_REMOVE:
            if file in self._sockets:
                self._sockets.remove(file)
                self._epoll.unregister(file)
        elif file in self._sockets:
            self._epoll.modify(file, _EVENTS[what])
        else:
            self._epoll.register(file, _EVENTS[what])
            self._sockets.add(file)
        if what in (pycurl.POLL_OUT, pycurl.POLL_INOUT):
            self._kept.opened(file)

    def _mind_time(self, wait_ms: int) -> None:
        """libcurl's wish to be called without an event."""
        self._curl_at = self.now() + wait_ms / 1000 if wait_ms >= 0 else math.inf


def _action(events: int) -> int:
    action = 0
    if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP):
        action |= pycurl.CSELECT_IN
    if events & select.EPOLLOUT:
        action |= pycurl.CSELECT_OUT
    if events & select.EPOLLERR:
        action |= pycurl.CSELECT_ERR
    return action
