"""One request after the other on one libcurl handle: what is asked, what may come back, and what is kept of it.

libcurl is given a URL whose host is already resolved (CURLOPT_RESOLVE) and may not resolve itself: its own resolver is
refused, and so is every socket to an address that is not among the checked ones.

libcurl uses a kept connection as it finds it. Here it is looked at first (kept.py): one that is closed or not empty is
dropped before anything is sent, and the request starts anew. Where the connection is closed while the request is on its
way, libcurl would ask again by itself. It may not: every request that a host sees has a permit of its own (RESEND).

Where there is no room for its body (budget.py) a request pauses. That is our own doing, so the time of the pause counts
neither as silence nor towards the deadline.
"""

import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from math import inf

import pycurl

from ml_images.download.budget import PIECE, Budget
from ml_images.download.config import FetchConfig
from ml_images.download.failure import outcome_of
from ml_images.download.header import announced_length, check_codings, content_coding, parse_header
from ml_images.download.kept import Connections, Name, is_quiet
from ml_images.download.robots import MAX_BYTES
from ml_images.download.transport import RESEND, Headers, Request
from ml_images.download.url import WebUrl

_MAX_HEADER_BYTES = 64 * 1024  # with interim answers and trailers
# A body that nobody wants is read up to here and for so long, to keep the connection; a longer one costs it instead.
_DRAIN_BYTES = 64 * 1024
_DRAIN_S = 0.5
_NO_HTTP = (pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY)  # the latter for HTTP as well
_SMALL = 4096  # bytes of a piece of a body, below which it takes up the next one; libcurl gives 16 KB if it has them
_STOP = 0  # of a callback that was given more bytes than that: libcurl breaks off and closes the connection
# Addresses handed to libcurl live in its cache so long, far longer than any request; an hour bounds the memory.
_PINNED_S = 3600


class _Bug:
    """What was thrown in a callback: pycurl would print it and go on, so it is kept and thrown again outside."""

    def __init__(self) -> None:
        self.thrown: Exception | None = None

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, thrown: BaseException | None, trace: object) -> bool:
        if isinstance(thrown, Exception):
            self.thrown = thrown
        return isinstance(thrown, Exception)


class _Handed:
    """A socket on its way to libcurl: pycurl duplicates the descriptor and drops the object, which closes ours."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def __del__(self) -> None:
        self._socket.close()


class Exchange:
    """A handle and the request that is on it: `begin`, then libcurl calls back, then `end` or `give_up`, then `forget`.
    The body of an `end` that is ok stays in the budget; all others leave it."""

    def __init__(
        self,
        cfg: FetchConfig,
        ca_file: str,
        budget: Budget,
        clock: Callable[[], float],
        connections: Connections,
    ) -> None:
        self._max_bytes = cfg.max_bytes
        self._read_timeout_s = cfg.read_timeout_s
        self._budget = budget
        self._clock = clock
        self._connections = connections
        self._bug = _Bug()
        self.handle = pycurl.Curl()
        self._set_up(cfg, ca_file)

    def begin(self, request: Request, url: WebUrl, addresses: tuple[str, ...], number: int) -> None:
        self.number = number
        self.paused_s = 0.0
        self._request = request
        self._host = url.host
        self._is_address = url.is_address
        self._is_robots_file = request.is_robots_file
        self._addresses = frozenset(map(ipaddress.ip_address, addresses))
        self._is_sent = False
        self.again()
        self.handle.setopt(pycurl.URL, url.text)
        if url.is_address:  # an address as host resolves to itself
            self.handle.unsetopt(pycurl.RESOLVE)  # an empty list would leave the last one
        else:  # '+': kept for DNS_CACHE_TIMEOUT only
            self.handle.setopt(pycurl.RESOLVE, [f"+{url.host}:{url.port}:{','.join(addresses)}"])

    def again(self) -> None:
        """Ready for the same request once more, after it met a spoiled connection."""
        self._lines: list[bytes] = []
        self._header_bytes = 0
        self._pieces: list[bytes] = []  # of the body
        self._num_bytes = 0
        self._drained = 0
        self._heard = inf  # when something came last; the time until a connection stands is libcurl's
        self._until = inf  # end of draining
        self._is_fresh = False  # a socket was opened for the next sending
        self._is_kept = False  # the request went out on a kept connection
        self._is_spoiled = False  # met a kept connection that is of no use
        self.connection: Name | None = None  # that the request went out on
        self._paused_at: float | None = None
        self.status: int | None = None
        self.headers: Headers = {}
        self._outcome: str | None = None
        self._detail = ""
        self.handle.setopt(pycurl.FRESH_CONNECT, int(self._request.is_resent))

    def is_spoiled(self) -> bool:
        """Did libcurl end before anything was sent, because of what an earlier answer left on the connection? Then
        `again`."""
        return self._is_spoiled and self._bug.thrown is None

    def due(self) -> float:
        """When this is to be given up unless something comes before."""
        if self._paused_at is not None:
            return inf
        return min(self._request.deadline + self.paused_s, self._heard + self._read_timeout_s, self._until)

    def is_late(self, now: float) -> bool:
        """Has the deadline passed?"""
        return now >= self._request.deadline + self.paused_s

    def go_on(self) -> None:
        assert self._paused_at is not None
        self._heard = self._clock()
        self.paused_s += self._heard - self._paused_at
        self._paused_at = None
        with suppress(pycurl.error):  # what is wrong with it shows when it ends, at its read timeout at the latest
            self.handle.pause(pycurl.PAUSE_CONT)

    def end(self, code: int, message: str) -> tuple[str, str, bytes]:
        """Outcome, detail and body, once libcurl is through with the handle."""
        outcome, detail = self._ended(code, message)
        self._budget.leave(self)
        if outcome == "ok":
            return outcome, detail, b"".join(self._pieces)
        self._budget.taken -= self._num_bytes
        return outcome, detail, b""

    def give_up(self, detail: str) -> tuple[str, str]:
        """Outcome and detail where time is over; the handle has been taken from libcurl."""
        self._budget.leave(self)
        self._budget.taken -= self._num_bytes
        return (self._outcome, self._detail) if self._outcome is not None else ("timeout", detail)

    def forget(self) -> None:
        """Hold nothing of the request any longer."""
        del self._request, self._pieces

    def _set_up(self, cfg: FetchConfig, ca_file: str) -> None:
        options = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.HTTP09_ALLOWED: 0,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "",  # not even from the environment
            pycurl.USERAGENT: cfg.user_agent,
            # Pictures are compressed already; what comes packed all the same is unpacked later (packed.py).
            pycurl.HTTP_CONTENT_DECODING: 0,
            pycurl.HTTPHEADER: ["Accept: image/*,*/*;q=0.5", "Accept-Encoding: identity"],
            pycurl.CONNECTTIMEOUT_MS: max(1, round(cfg.connect_timeout_s * 1000)),
            pycurl.DNS_CACHE_TIMEOUT: _PINNED_S,
            # One for all handles of a loop; the default of 16 KiB means 7 callbacks for a photo of 100 KB.
            pycurl.BUFFERSIZE: PIECE,
            pycurl.PATH_AS_IS: 1,  # what robots.txt was asked about
            pycurl.CAINFO: ca_file,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
            pycurl.HEADERFUNCTION: self._take_header,
            pycurl.WRITEFUNCTION: self._take_body,
            pycurl.PREREQFUNCTION: self._sending,
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.RESOLVER_START_FUNCTION: self._resolving,
        }
        for option, value in options.items():
            self.handle.setopt(option, value)
        self.handle.unsetopt(pycurl.CAPATH)  # the file alone says whom to trust

    def _ended(self, code: int, message: str) -> tuple[str, str]:
        if self._bug.thrown is not None:
            raise self._bug.thrown
        if code in _NO_HTTP and self._is_kept:  # where HTTP was spoken before
            return RESEND, message
        if self._outcome is not None:
            return self._outcome, self._detail
        if code != pycurl.E_OK:
            os_error = self.handle.getinfo(pycurl.OS_ERRNO)
            return outcome_of(code, message, os_error, self.status is not None), message
        if self.status is None:
            return "connect_error", "the connection closed within the header"
        return "ok", ""

    def _stop(self, outcome: str, detail: str) -> int:
        self._outcome, self._detail = outcome, detail
        return _STOP

    def _open_socket(self, purpose: int, peer: pycurl.CurlSockAddr) -> _Handed | int:
        address = peer.addr[0] if isinstance(peer.addr, tuple) else ""
        if not address or ipaddress.ip_address(address) not in self._addresses:
            self._stop("address_refused", f"{address} is not what was checked")
            return pycurl.SOCKET_BAD
        self._is_fresh = True
        sock = socket.socket(peer.family, peer.socktype, peer.protocol)
        self._connections.new(os.fstat(sock.fileno()).st_ino, *peer.addr[:2])
        return _Handed(sock)

    def _resolving(self, *_: object) -> int:
        """libcurl asks before it resolves a host by itself; an address as host means no question to anybody."""
        if self._is_address:
            return 0
        self._stop("dns_error", "the pinned addresses were lost")
        return 1

    def _sending(self, address: str, own_address: str, port: int, own_port: int) -> int:
        self._heard = self._clock()
        self._is_kept, self._is_fresh = not self._is_fresh, False
        self.connection = own_address, own_port, address, port
        file = self._connections.take(self._host, self.connection, self.number)
        if self._is_kept and (file is None or not is_quiet(file)):
            self._is_spoiled = True
            return pycurl.PREREQFUNC_ABORT
        if self._is_sent:
            self._stop(RESEND, "a kept connection was closed without an answer")
            return pycurl.PREREQFUNC_ABORT
        self._is_sent = True
        return pycurl.PREREQFUNC_OK

    def _take_header(self, line: bytes) -> int | None:
        self._heard = self._clock()
        self._header_bytes += len(line)
        if self._header_bytes > _MAX_HEADER_BYTES:
            return self._stop("http_error", f"more than {_MAX_HEADER_BYTES} bytes of header")
        if self.status is not None:
            return None  # trailers
        if line.strip(b"\r\n"):
            self._lines.append(line)
            return None
        with self._bug:
            return self._judge_header()
        return _STOP

    def _judge_header(self) -> int | None:
        try:
            status, headers = parse_header(self._lines)
            if status < 200:  # interim; the answer is yet to come
                self._lines.clear()
                return None
            self.status, self.headers = status, headers
            length = announced_length(headers)
            check_codings(headers)
        except ValueError as error:
            return self._stop("http_error", str(error))
        unwanted = self._request.accept(status, headers)
        if unwanted is not None:
            self._stop(unwanted, f"status {status}")
            self._until = self._clock() + _DRAIN_S
            short = length <= _DRAIN_BYTES if length is not None else "transfer-encoding" in headers
            return None if short else _STOP
        try:
            content_coding(headers)
        except ValueError as error:
            return self._stop("http_error", str(error))
        if length is not None and length > self._max_bytes and not self._is_robots_file:
            return self._stop("too_large", f"{length} bytes announced, at most {self._max_bytes} wanted")
        return None

    def _take_body(self, data: bytes) -> int | None:
        self._heard = self._clock()
        if self._outcome is not None:
            self._drained += len(data)
            return None if self._drained <= _DRAIN_BYTES else _STOP
        if self.status is None:
            return self._stop("http_error", "a body without a header")
        self._num_bytes += len(data)
        self._budget.taken += len(data)
        if self._is_robots_file:
            if self._num_bytes > MAX_BYTES:  # enough of it: an answer that is complete as far as anybody wants it
                self._pieces.append(data)
                return self._stop("ok", "")
        elif self._num_bytes > self._max_bytes:
            return self._stop("too_large", f"more than {self._max_bytes} bytes")
        if self._pieces and len(self._pieces[-1]) < _SMALL:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        if self._paused_at is None and self._budget.must_pause(self):
            self._paused_at = self._heard
            self.handle.pause(pycurl.PAUSE_RECV)
        return None
