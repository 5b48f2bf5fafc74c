"""A web server with faults, on a free port of the loopback interface."""

import io
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "FaultServer"

    def setup(self) -> None:
        super().setup()
        self.server.num_connections += 1

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.seen[self.path] += 1
        self.server.headers_seen.append(dict(self.headers))
        self.server.routes[self.path](self)

    def log_message(self, *args: object) -> None:
        pass

    @property
    def visit(self) -> int:
        """How often this path was asked for, this time included."""
        return self.server.seen[self.path]

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def raw(self, data: bytes) -> None:
        """These bytes and nothing else, then the end of the connection."""
        self.wfile.write(data)
        self.close_connection = True

    def drip(self, data: bytes) -> None:
        """A byte every 50 ms until the client or the test has had enough."""
        self.close_connection = True
        for byte in data:
            if self.server.over.wait(0.05):
                return
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return


class FaultServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Answer] = {}
        self.seen: Counter[str] = Counter()
        self.headers_seen: list[dict[str, str]] = []
        self.num_connections = 0
        self.lock = threading.Lock()
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def on(self, path: str, answer: Answer) -> str:
        self.routes[path] = answer
        return self.url + path

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that accepts connections (the kernel does) and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((120, 80)).save(out, "JPEG")
    return out.getvalue()
