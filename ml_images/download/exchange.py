"""One request after the other on one libcurl handle: what is asked, what may come back, and what is kept of it.

libcurl is given a URL whose host is already resolved (CURLOPT_RESOLVE) and may not resolve itself: its own resolver is
refused, and so is every socket to an address that is not among the checked ones.

libcurl uses a kept connection as it finds it. Here it is looked at first (kept.py): one that is closed or not empty is
dropped before anything is sent, and the request starts anew. Where the connection is closed while the request is on its
way, libcurl asks again by itself, and here at most once: a server may see one request more than was started for each
kept connection that it closes at the very moment of a request.
"""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from io import BytesIO
from math import inf

import pycurl

from ml_images.download.config import FetchConfig
from ml_images.download.failure import outcome_of
from ml_images.download.header import announced_length, check_codings, parse_header
from ml_images.download.kept import is_quiet
from ml_images.download.transport import Headers, Request
from ml_images.download.url import WebUrl

_MAX_HEADER_BYTES = 64 * 1024  # with interim answers and trailers
# A body that nobody wants is read up to here and for so long, to keep the connection; a longer one costs it instead.
_DRAIN_BYTES = 64 * 1024
_DRAIN_S = 0.5
_MAX_SENDS = 2
_NO_HTTP = (pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY)  # the latter for HTTP as well
_STOP = 0  # of a callback that was given more bytes than that: libcurl breaks off and closes the connection
_BUFFER = 128 * 1024  # one for all handles of a loop; the default of 16 KiB means 7 callbacks for a photo of 100 KB
# Addresses handed to libcurl live in its cache so long, far longer than any request; an hour bounds the memory.
_PINNED_S = 3600


class Tally:
    """Bytes of bodies held by all exchanges of a transport."""

    def __init__(self) -> None:
        self.bytes = 0


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
    `files` has the descriptors of connections by their local address and port."""

    def __init__(
        self,
        cfg: FetchConfig,
        ca_file: str,
        tally: Tally,
        clock: Callable[[], float],
        files: Mapping[tuple[str, int], int],
    ) -> None:
        self._max_bytes = cfg.max_bytes
        self._read_timeout_s = cfg.read_timeout_s
        self._tally = tally
        self._clock = clock
        self._files = files
        self._bug = _Bug()
        self.handle = pycurl.Curl()
        self._set_up(cfg, ca_file)

    def begin(self, request: Request, url: WebUrl, addresses: tuple[str, ...]) -> None:
        self._request = request
        self._is_address = url.is_address
        self._addresses = frozenset(map(ipaddress.ip_address, addresses))
        self._num_sends = 0
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
        self._body = BytesIO()
        self._num_bytes = 0
        self._drained = 0
        self._heard = inf  # when something came last; the time until a connection stands is libcurl's
        self._until = inf  # end of draining
        self._is_fresh = False  # a socket was opened for the next sending
        self._is_kept = False  # the request went out on a kept connection
        self._is_spoiled = False  # met a kept connection that is of no use
        self.status: int | None = None
        self.headers: Headers = {}
        self._outcome: str | None = None
        self._detail = ""
        # What was sent already goes out over a new connection, so that it is not sent a third time.
        self.handle.setopt(pycurl.FRESH_CONNECT, int(self._num_sends > 0))

    def is_spoiled(self, code: int) -> bool:
        """Did libcurl end with this code because of what an earlier answer left on the connection? Then `again`."""
        is_noise = code in _NO_HTTP and self._is_kept  # where HTTP was spoken before
        return (self._is_spoiled or is_noise) and self._bug.thrown is None

    def due(self) -> float:
        """When this is to be given up unless something comes before."""
        return min(self._heard + self._read_timeout_s, self._until)

    def end(self, code: int, message: str) -> tuple[str, str, bytes]:
        """Outcome, detail and body, once libcurl is through with the handle."""
        self._tally.bytes -= self._num_bytes
        if self._bug.thrown is not None:
            raise self._bug.thrown
        if self._outcome is not None:
            return self._outcome, self._detail, b""
        if code != pycurl.E_OK:
            os_error = self.handle.getinfo(pycurl.OS_ERRNO)
            return outcome_of(code, message, os_error, self.status is not None), message, b""
        if self.status is None:
            return "connect_error", "the connection closed within the header", b""
        return "ok", "", self._body.getvalue()

    def give_up(self, detail: str) -> tuple[str, str]:
        """Outcome and detail where time is over; the handle has been taken from libcurl."""
        self._tally.bytes -= self._num_bytes
        return (self._outcome, self._detail) if self._outcome is not None else ("timeout", detail)

    def forget(self) -> None:
        """Hold nothing of the request any longer."""
        del self._request, self._body

    def _set_up(self, cfg: FetchConfig, ca_file: str) -> None:
        options = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.HTTP09_ALLOWED: 0,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "",  # not even from the environment
            pycurl.USERAGENT: cfg.user_agent,
            # identity: pictures are compressed already; what comes encoded all the same is decoded.
            pycurl.ACCEPT_ENCODING: "identity",
            pycurl.HTTPHEADER: ["Accept: image/*,*/*;q=0.5"],
            pycurl.CONNECTTIMEOUT_MS: max(1, round(cfg.connect_timeout_s * 1000)),
            pycurl.DNS_CACHE_TIMEOUT: _PINNED_S,
            pycurl.BUFFERSIZE: _BUFFER,
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

    def _stop(self, outcome: str, detail: str) -> int:
        self._outcome, self._detail = outcome, detail
        return _STOP

    def _open_socket(self, purpose: int, peer: pycurl.CurlSockAddr) -> _Handed | int:
        address = peer.addr[0] if isinstance(peer.addr, tuple) else ""
        if not address or ipaddress.ip_address(address) not in self._addresses:
            self._stop("address_refused", f"{address} is not what was checked")
            return pycurl.SOCKET_BAD
        self._is_fresh = True
        return _Handed(socket.socket(peer.family, peer.socktype, peer.protocol))

    def _resolving(self, *_: object) -> int:
        """libcurl asks before it resolves a host by itself; an address as host means no question to anybody."""
        if self._is_address:
            return 0
        self._stop("dns_error", "the pinned addresses were lost")
        return 1

    def _sending(self, address: str, own_address: str, port: int, own_port: int) -> int:
        self._heard = self._clock()
        self._is_kept, self._is_fresh = not self._is_fresh, False
        file = self._files.get((own_address, own_port))
        if self._is_kept and (file is None or not is_quiet(file)):
            self._is_spoiled = True
            return pycurl.PREREQFUNC_ABORT
        self._num_sends += 1
        if self._num_sends <= _MAX_SENDS:
            return pycurl.PREREQFUNC_OK
        self._stop("connect_error", f"{_MAX_SENDS} kept connections were closed without an answer")
        return pycurl.PREREQFUNC_ABORT

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
        if length is not None and length > self._max_bytes:
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
        self._tally.bytes += len(data)
        if self._num_bytes > self._max_bytes:
            return self._stop("too_large", f"more than {self._max_bytes} bytes")
        self._body.write(data)
        return None
