"""One connection of the sample's web server: requests in, answers out, and the endings that faults ask for.

A protocol of asyncio and nothing above it: a thread for each connection, as in http.server, serves a tenth of that.
"""

import asyncio
import json
import math
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from time import monotonic

from ml_images.sample import bodies, connections, hosts, redirects, statuses
from ml_images.sample.answers import COPY, PREFIX, UNAVAILABLE, Answer, Asked, End, Step, refusal, whole
from ml_images.sample.files import Files
from ml_images.sample.request_log import Recorder

_LONGEST_HEAD = 1 << 16
_STEPS_A_TURN = 16  # an endless answer to a fast reader leaves the others their turns
_JSON = "application/json"

BEHAVIOURS: Mapping[str, Callable[[Asked], Answer]] = {
    **statuses.BEHAVIOURS,
    **redirects.BEHAVIOURS,
    **bodies.BEHAVIOURS,
    **connections.BEHAVIOURS,
    **hosts.BEHAVIOURS,
}


class Service:
    """What all connections share."""

    def __init__(self, files: Files, scheme: str) -> None:
        self.files = files
        self.scheme = scheme
        self.recorder = Recorder()
        self.connections: set[Connection] = set()

    def answer(self, host: str, path: str, fields: Mapping[str, str], times: int, earlier: int) -> Answer:
        copy, path = _without_copy(path)
        if not path.startswith(PREFIX):
            robots = hosts.robots_of(host, path)
            return self.files.answer(path) if robots is None else robots
        fault, _, place = path.removeprefix(PREFIX).partition("/")
        kind, _, value = fault.partition("=")
        if kind == "same":
            return self.files.answer(UNAVAILABLE)
        behave = BEHAVIOURS.get(kind)
        if behave is None:
            return refusal(404)
        picture = self.files.picture(place)
        return behave(Asked(f"{self.scheme}://{host}", copy, kind, value, place, picture, fields, times, earlier))

    def about(self, path: str) -> bytes | None:
        """The server's own pages, which are neither counted nor logged."""
        if path == "/-/requests":
            return whole(200, json.dumps(self.recorder.requests()).encode(), _JSON)
        return whole(200, self.recorder.log().to_json(), _JSON) if path == "/-/log" else None


class Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = bytearray()
        self._steps: Iterator[Step] | None = None  # of the answer under way
        self._timer: asyncio.Handle | None = None
        self._full = False  # the kernel takes no more for the moment
        self._last = False  # close after this answer
        self._request = -1  # numbers in the log
        self._number = -1
        self._earlier = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._made = monotonic()
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._steps = None
        if self._number >= 0:
            self._service.recorder.closed(self._number)
        self._finished()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._steps is not None and self._timer is None:  # in a turn of its own: asyncio is in the middle of a write
            self._timer = asyncio.get_running_loop().call_soon(self._pump)

    def hang_up(self) -> None:
        self._transport.abort()

    def _next(self) -> None:
        """Answer the requests that are here, one after the other."""
        while self._steps is None and not self._transport.is_closing():
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                if len(self._received) > _LONGEST_HEAD:
                    self._refuse(431)
                return
            head = bytes(self._received[:end]).decode("latin-1")
            del self._received[: end + 4]
            self._take(head)

    def _take(self, head: str) -> None:
        line, *lines = head.split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[1].startswith("/") or words[0] != "GET":
            self._refuse(501 if len(words) == 3 and words[0] != "GET" else 400)
            return
        fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in lines)}
        self._last = words[2] == "HTTP/1.0" or fields.get("connection", "").lower() == "close"
        path, host = words[1].partition("?")[0], fields.get("host", "").lower()
        answer: Answer | None = self._service.about(path)
        if answer is None:
            if self._number < 0:
                self._number = self._service.recorder.opened(host, self._made)
            self._request, times = self._service.recorder.asked(host, path)
            answer = self._service.answer(host, path, fields, times, self._earlier)
            self._earlier += 1
        if isinstance(answer, bytes):
            self._transport.write(answer)
            self._over()
        else:
            self._steps = answer
            self._pump()

    def _pump(self) -> None:
        """Take steps until the answer has to wait or is over."""
        self._timer = None
        assert self._steps is not None
        for taken, step in enumerate(self._steps):
            if isinstance(step, bytes):
                self._transport.write(step)
                if self._full or self._transport.is_closing():
                    return
                if taken >= _STEPS_A_TURN:
                    self._timer = asyncio.get_running_loop().call_soon(self._pump)
                    return
            elif isinstance(step, End):
                self._end(step)
                return
            elif step == math.inf:
                return
            else:
                self._timer = asyncio.get_running_loop().call_later(step, self._pump)
                return
        self._over()
        self._next()

    def _over(self) -> None:
        self._finished()
        self._steps = None
        if self._last:
            self._transport.close()

    def _end(self, how: End) -> None:
        self._steps = None
        if how is End.CLOSE:
            self._transport.close()
            return
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends RST
        self._transport.abort()

    def _refuse(self, status: int) -> None:
        self._transport.write(refusal(status, Connection="close"))
        self._transport.close()

    def _finished(self) -> None:
        if self._request >= 0:
            self._service.recorder.done(self._request)
            self._request = -1


def _without_copy(path: str) -> tuple[str, str]:
    """("/-/copy/17", "/a.jpg") for /-/copy/17/a.jpg."""
    if not path.startswith(COPY):
        return "", path
    number, slash, rest = path.removeprefix(COPY).partition("/")
    return (COPY + number, slash + rest)
