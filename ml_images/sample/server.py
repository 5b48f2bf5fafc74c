"""A web server on the loopback address that sends the pictures of a folder and misbehaves where it is asked to.

It serves the sample world and just as well a folder of somebody's own photos: the path of a URL is the path of the
file. Everything of its own lies under /-/: faults (see `faults`) and the counts of requests, /-/requests.
"""

import html
import json
import mimetypes
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ml_images.sample.faults import PREFIX

HOST = "127.0.0.1"
UNAVAILABLE = "photo_unavailable.png"

_STATUS = {"missing": 404, "gone": 410, "private": 403, "refusing": 406, "busy": 429, "failing": 503}
_PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>This photo has moved out.</body></html>\n"
_DRIP_PERIOD_S = 0.5
_DRIP_BYTES = 10_000_000  # promised at 4 bytes a period: two weeks
_LISTED = 1000  # entries on a folder's page


class Server(ThreadingHTTPServer):
    """Serves the files under `folder`; `url` ends with a slash, so a key can be appended to it."""

    daemon_threads = True
    request_queue_size = 128  # the default of 5 makes connections of a parallel downloader wait a second for a retry

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.resolve()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def requests(self) -> dict[str, int]:
        """How often each path was asked for, as it stood in the request."""
        with self._lock:
            return dict(self._counts)

    def count(self, path: str) -> int:
        """Note a request; returns how many there were for this path, this one included."""
        with self._lock:
            self._counts[path] += 1
            return self._counts[path]

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def hang_up(self) -> None:
        """End the answers under way and close the connections that clients keep open."""
        self.stopping.set()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # the client hung up first
                    connection.shutdown(socket.SHUT_RDWR)

    def find(self, path: str) -> Path | None:
        """The file or folder for a URL path; None when there is none inside the served folder."""
        name = unquote(path).lstrip("/")
        if "\0" in name:
            return None
        target = (self.folder / name).resolve()
        return target if target.is_relative_to(self.folder) and target.exists() else None


@contextmanager
def serve(folder: Path, port: int = 0) -> Iterator[Server]:
    """A running server for a folder, either a world that `write` made or plain pictures; port 0 takes a free one.

    Raises OSError when the port is taken."""
    server = Server(pictures_of(folder), port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


def pictures_of(folder: Path) -> Path:
    """The folder to serve: the pictures of a world, or the folder itself."""
    return folder / "pictures" if (folder / "expected.json").is_file() else folder


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # connections stay open
    server_version = "ml-images-sample"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        try:
            super().finish()
        except ConnectionError:
            self.close_connection = True  # the client left before the last bytes: nothing to do for it

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # clients with a deadline hang up in the middle of an answer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the counts tell what was asked."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/-/requests":
            self._send(200, json.dumps(self.server.requests()).encode(), "application/json")
            return
        seen = self.server.count(path)
        if not path.startswith(PREFIX):
            self._send_file(path)
            return
        kind, _, picture = path.removeprefix(PREFIX).partition("/")
        self._misbehave(kind, picture, seen)

    def _misbehave(self, kind: str, picture: str, seen: int) -> None:
        """Answer request number `seen` for a fault's path."""
        match kind:
            case _ if kind in _STATUS:
                self._refuse(_STATUS[kind])
            case "busy_once" | "failing_once":
                if seen == 1:
                    self._refuse(429 if kind == "busy_once" else 500)
                else:
                    self._send_file(picture)
            case "moved":
                self._redirect(302, f"{PREFIX}moved_again/{picture}")
            case "moved_again":
                self._redirect(301, f"/{picture}")
            case "circular":
                self._redirect(302, self.path)
            case "unavailable":
                self._redirect(302, f"/{UNAVAILABLE}")
            case "dripping":
                self._drip()
            case "silent":
                self.server.stopping.wait()
                self.close_connection = True
            case "cut":
                self._send_half(picture)
            case "page":
                self._send(200, _PAGE, "image/jpeg")
            case "empty":
                self._send(200, b"", "image/jpeg")
            case _:
                self._refuse(404)

    def _send(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int) -> None:
        headers = {"Retry_After": "1"} if status == 429 else {}
        self._send(status, f"{status} {HTTPStatus(status).phrase}\n".encode(), "text/plain; charset=utf-8", **headers)

    def _redirect(self, status: int, path: str) -> None:
        self._send(status, b"", "text/plain; charset=utf-8", Location=path)

    def _send_file(self, path: str) -> None:
        target = self.server.find(path)
        if target is None:
            self._refuse(404)
        elif target.is_dir():
            self._send(200, _page(target, self.server.folder), "text/html; charset=utf-8")
        else:
            self._send(200, target.read_bytes(), _content_type(target))

    def _send_half(self, picture: str) -> None:
        target = self.server.find(picture)
        if target is None:
            self._refuse(404)
            return
        data = target.read_bytes()
        self._promise(len(data), _content_type(target))
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def _drip(self) -> None:
        self._promise(_DRIP_BYTES, "image/jpeg")
        start = b"\xff\xd8\xff\xe0"
        while not self.server.stopping.is_set():
            self.wfile.write(start)
            self.wfile.flush()
            start = bytes(4)
            self.server.stopping.wait(_DRIP_PERIOD_S)
        self.close_connection = True

    def _promise(self, length: int, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _content_type(path: Path) -> str:
    return mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"


def _page(folder: Path, root: Path) -> bytes:
    """A folder for a person with a browser: its subfolders as links, its files as thumbnails."""
    entries = sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name))
    links = []
    for entry in entries[:_LISTED]:
        name, place = html.escape(entry.name), quote(f"/{entry.relative_to(root).as_posix()}")
        shown = f'<img loading="lazy" height="120" alt="{name}" src="{place}">' if entry.is_file() else f"{name}/"
        links.append(f'<a href="{place}" title="{name}">{shown}</a>')
    more = f"<p>and {len(entries) - _LISTED} more</p>" if len(entries) > _LISTED else ""
    title = html.escape(f"{folder.relative_to(root).as_posix()}: {len(entries)} entries")
    return f"<!DOCTYPE html><title>{title}</title><p>{title}</p>{' '.join(links)}{more}\n".encode()
