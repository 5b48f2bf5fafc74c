"""A web server on loopback addresses that sends the pictures of a folder and misbehaves where it is asked to.

It serves the sample world and just as well a folder of somebody's own photos: the path of a URL is the path of the
file. Everything of its own lies under /-/: faults (see `faults`), copies (/-/copy/17/a.jpg is a.jpg under one more
URL), the counts of requests, /-/requests, and the log, /-/log.
"""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address
from pathlib import Path

from ml_images.sample.answers import UNAVAILABLE as UNAVAILABLE
from ml_images.sample.files import Files
from ml_images.sample.request_log import Log
from ml_images.sample.serving import Connection, Service

HOST = "127.0.0.1"

_BACKLOG = 1024
_PORTS_TRIED = 20  # one that is free at the first address may be taken at another


class Server:
    """Serves the files under `folder`; `url` ends with a slash, so a key can be appended to it."""

    def __init__(self, folder: Path, port: int, addresses: Sequence[str], service: Service) -> None:
        self.folder = folder
        self.server_port = port
        self.addresses = tuple(addresses)
        self._service = service

    @property
    def url(self) -> str:
        return f"{self._service.scheme}://{self.addresses[0]}:{self.server_port}/"

    def requests(self) -> dict[str, int]:
        """How often each path was asked for, as it stood in the request, of all hosts together."""
        return self._service.recorder.requests()

    def log(self) -> Log:
        """All requests and connections so far."""
        return self._service.recorder.log()


@contextmanager
def serve(
    folder: Path, port: int = 0, *, addresses: Sequence[str] = (HOST,), certificate: Path | None = None
) -> Iterator[Server]:
    """A running server for a folder, either a world that `write` made or plain pictures; port 0 takes a free one.

    It listens at the same port of all `addresses` (of the loopback net), with TLS when `certificate` names a PEM file
    of a private key and its chain. Raises OSError when the port is taken, ssl.SSLError when the file is no such thing.
    """
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    with ExitStack() as stack:
        sockets = _listen(addresses, port)
        for listening in sockets:
            stack.enter_context(listening)
        files = Files(pictures_of(folder))
        service = Service(files, "http" if context is None else "https")
        stack.enter_context(_running(service, sockets, context))
        yield Server(files.folder, sockets[0].getsockname()[1], addresses, service)


def pictures_of(folder: Path) -> Path:
    """The folder to serve: the pictures of a world, or the folder itself."""
    return folder / "pictures" if (folder / "expected.json").is_file() else folder


@contextmanager
def _running(service: Service, sockets: Sequence[socket.socket], context: ssl.SSLContext | None) -> Iterator[None]:
    """The event loop in a thread of its own. At the end all connections close, also in the middle of an answer."""
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def accept() -> None:
        servers = [
            await loop.create_server(lambda: Connection(service), sock=listening, ssl=context, backlog=_BACKLOG)
            for listening in sockets
        ]
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        for connection in tuple(service.connections):
            connection.hang_up()
        await asyncio.sleep(0)  # the transports close their sockets in the next turn

    def run() -> None:
        with closing(loop):
            loop.run_until_complete(accept())

    thread = threading.Thread(target=run, name="sample server", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _listen(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets at one port of all addresses. Raises OSError when one is taken."""
    assert all(ip_address(address).is_loopback for address in addresses), addresses
    for attempt in range(_PORTS_TRIED):
        opened: list[socket.socket] = []
        try:
            for address in addresses:
                opened.append(_bind(address, opened[0].getsockname()[1] if opened else port))
        except OSError as error:
            for listening in opened:
                listening.close()
            if port or error.errno != errno.EADDRINUSE or attempt == _PORTS_TRIED - 1:
                raise
        else:
            return opened
    raise AssertionError("the last attempt raises")


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without, the second chunk of an answer is 40 ms late.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
