"""Web servers with faults, plain and over TLS, on free ports of the loopback interface."""

import io
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
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

    def hang_up(self, status: int = 200, body: bytes = b"") -> None:
        """An answer that promises to keep the connection, which then closes."""
        self.reply(status, body)
        self.close_connection = True

    def reset(self) -> None:
        """The end of the connection, with everything on its way thrown away."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
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
    request_queue_size = 1024
    scheme = "http"

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
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def on(self, path: str, answer: Answer) -> str:
        self.routes[path] = answer
        return self.url + path

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


@contextmanager
def serving(running: FaultServer) -> Iterator[FaultServer]:
    with running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            running.over.set()
            running.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with serving(FaultServer()) as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


class TlsServer(FaultServer):
    """For photos.test and 127.0.0.1; `names` are those that clients asked for, `resumed` which sessions were old."""

    scheme = "https"

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__()
        self.names: list[str | None] = []
        self.resumed: list[bool | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("photos.test", "127.0.0.1").configure_cert(context)
        context.sni_callback = lambda sock, name, _: self.names.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request_thread(self, request: ssl.SSLSocket, client_address: object) -> None:
        try:
            request.do_handshake()
        except OSError:  # the client does not trust us
            request.close()
            return
        self.resumed.append(request.session_reused)
        super().process_request_thread(request, client_address)


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[TlsServer]:
    with serving(TlsServer(authority)) as running:
        yield running


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
