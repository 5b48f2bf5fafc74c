"""Which addresses are connected to, and whom TLS believes: a resolver of ours stands in for the internet's."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from ml_images.download import address, exchange
from ml_images.download.config import FetchConfig
from ml_images.download.curl import CurlTransport
from ml_images.download.transport import Headers, Request, Response

CFG = FetchConfig(read_timeout_s=2.0, connect_timeout_s=2.0)
# In these tests the first loopback address counts as public, the others as private as they are.
PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"


@pytest.fixture(autouse=True)
def one_loopback_address_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    real = address.is_public
    monkeypatch.setattr(address, "is_public", lambda found: str(found) == PUBLIC or real(found))


class Names:
    """Names with lists of answers, one a question (the last one stays)."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int) -> list:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET6 if ":" in text else socket.AF_INET, kind, 6, "", (text, port)) for text in found]


class Trap:
    """Counts connections at the private address, on the port of a server at the public one."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self.sock = socket.create_server((PRIVATE, port))
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self.sock.accept()[0].close()
            except OSError:
                return
            self.count += 1

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join()


@pytest.fixture
def trap(server) -> Iterator[Trap]:
    trap = Trap(server.server_port)
    yield trap
    trap.close()


@contextlib.contextmanager
def opened(names: Any, cfg: FetchConfig = CFG, **options: Any) -> Iterator[CurlTransport]:
    transport = CurlTransport(cfg, resolve=names, **options)
    try:
        yield transport
    finally:
        transport.close()


def everything(status: int, headers: Headers) -> None:
    return None


def get(transport: CurlTransport, url: str, seconds: float = 5.0) -> Response:
    transport.start(Request(url, transport.now() + seconds, everything))
    while not (done := transport.poll(10)):
        pass
    [response] = done
    return response


def test_private_hosts_are_refused_unless_asked_for(server, trap: Trap) -> None:
    server.on("/x", lambda h: h.reply(200, b"x"))
    names = Names(inner_test=[[PRIVATE]], mixed_test=[[PUBLIC, PRIVATE]])
    with opened(names) as transport:
        for host in (
            "inner.test",
            "mixed.test",
            PRIVATE,
            "2130706434",
            "0x7f.2",
            "127.2",
            "[::1]",
            "[::ffff:127.0.0.2]",
        ):
            answer = get(transport, f"http://{host}:{server.server_port}/x")
            assert (answer.outcome, answer.status) == ("address_refused", None), host
    assert trap.count == server.num_connections == 0
    with opened(names, replace(CFG, allow_private=True)) as transport:
        assert (
            get(transport, f"http://inner.test:{server.server_port}/x").outcome == "connect_error"
        )  # the trap hangs up
        assert get(transport, f"http://mixed.test:{server.server_port}/x").outcome == "ok"
        assert get(transport, f"http://2130706433:{server.server_port}/x").outcome == "ok"
    assert trap.count == 1


def test_loopback_is_refused_by_the_real_rule(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    with opened(socket.getaddrinfo) as transport:
        assert get(transport, url).outcome == "address_refused"
        assert get(transport, url.replace("127.0.0.1", "localhost")).outcome == "address_refused"
    assert server.num_connections == 0


def test_the_checked_address_is_used_however_often_the_name_changes_its_mind(server, trap: Trap) -> None:
    names = Names(photos_test=[[PUBLIC], [PRIVATE]])
    server.on("/x", lambda h: h.reply(200, b"x", Connection="close"))
    with opened(names) as transport:
        for _ in range(3):
            assert get(transport, f"http://photos.test:{server.server_port}/x").outcome == "ok"
    assert names.asked == ["photos.test"] and trap.count == 0
    assert server.headers_seen[0]["Host"] == f"photos.test:{server.server_port}"


def test_a_name_is_checked_anew_when_its_answer_is_old(server, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(photos_test=[[PUBLIC], [PRIVATE]])
    server.on("/x", lambda h: h.reply(200, b"x"))
    url = f"http://photos.test:{server.server_port}/x"
    with opened(names) as transport:
        assert get(transport, url).outcome == "ok"
        monkeypatch.setattr(transport._resolver, "_clock", lambda: time.monotonic() + 1000)
        assert get(transport, url).outcome == "address_refused"
    assert len(names.asked) == 2 and trap.count == 0


def test_libcurl_never_resolves_and_never_opens_another_socket(server, trap: Trap, monkeypatch) -> None:
    """Whatever is pinned: without a pin libcurl may not ask its resolver, with a wrong one it gets no socket."""
    names = Names(photos_test=[[PUBLIC]])
    server.on("/x", lambda h: h.reply(200, b"x"))
    url = f"http://photos.test:{server.server_port}/x"
    set_up = exchange.Exchange.begin

    def pinned(where: str) -> Any:
        def begin(self: exchange.Exchange, *args: Any) -> None:
            set_up(self, *args)
            self.handle.unsetopt(exchange.pycurl.RESOLVE)
            if where:
                self.handle.setopt(exchange.pycurl.RESOLVE, [where])

        return begin

    monkeypatch.setattr(exchange.Exchange, "begin", pinned(""))
    with opened(names) as transport:
        answer = get(transport, url)
        assert (answer.outcome, answer.detail) == ("dns_error", "the pinned addresses were lost")
    monkeypatch.setattr(exchange.Exchange, "begin", pinned(f"photos.test:{server.server_port}:{PRIVATE}"))
    with opened(names) as transport:
        assert get(transport, url).outcome == "address_refused"
    assert trap.count == server.num_connections == 0


def test_the_next_address_is_tried_where_one_does_not_answer(server) -> None:
    names = Names(photos_test=[["127.0.0.3", "::1", PUBLIC]], gone_test=[["127.0.0.3", "::1"]])
    server.on("/x", lambda h: h.reply(200, b"x"))
    with opened(names, replace(CFG, allow_private=True)) as transport:
        assert get(transport, f"http://photos.test:{server.server_port}/x").outcome == "ok"
        assert get(transport, f"http://gone.test:{server.server_port}/x").outcome == "connect_error"


def test_names_that_do_not_exist_are_dns_errors_and_asked_for_once(server) -> None:
    names = Names()
    with opened(names) as transport:
        for _ in range(3):
            assert get(transport, "http://nowhere.test/").outcome == "dns_error"
        assert get(transport, "http://" + "a" * 70 + ".test/").outcome == "bad_url"
    assert names.asked == ["nowhere.test"]


def test_a_name_with_a_dot_at_its_end_or_in_capitals_is_the_same_host(server) -> None:
    names = Names(photos_test=[[PUBLIC]])
    server.on("/x", lambda h: h.reply(200, b"x"))
    with opened(names) as transport:
        for host in ("photos.test", "PHOTOS.test", "photos.test."):
            assert get(transport, f"http://{host}:{server.server_port}/x").outcome == "ok"
    assert names.asked == ["photos.test"] and server.num_connections == 1


def test_tls_is_spoken_to_the_name_and_kept(tls_server, ca_file: Path) -> None:
    names = Names(photos_test=[[PUBLIC]])
    tls_server.on("/x", lambda h: h.reply(200, b"x" * 100_000))
    with opened(names, ca_file=str(ca_file)) as transport:
        for _ in range(3):
            assert len(get(transport, f"https://photos.test:{tls_server.server_port}/x").body) == 100_000
        assert tls_server.names == ["photos.test"] and tls_server.num_connections == 1


def test_tls_sessions_are_resumed_by_later_connections(tls_server, ca_file: Path) -> None:
    tls_server.on("/x", lambda h: h.reply(200, b"x", Connection="close"))
    with opened(Names(photos_test=[[PUBLIC]]), ca_file=str(ca_file)) as transport:
        for _ in range(3):
            assert get(transport, f"https://photos.test:{tls_server.server_port}/x").outcome == "ok"
    assert tls_server.resumed == [False, True, True]


def test_the_file_of_authorities_is_read_once(tls_server, authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    tls_server.on("/x", lambda h: h.reply(200, b"x", Connection="close"))
    with opened(Names(photos_test=[[PUBLIC]], other_test=[[PUBLIC]]), ca_file=str(file)) as transport:
        assert get(transport, f"https://photos.test:{tls_server.server_port}/x").outcome == "ok"
        file.write_text("no longer a certificate")
        assert get(transport, f"https://127.0.0.1:{tls_server.server_port}/x").outcome == "ok"


def test_a_certificate_for_another_name_is_refused(tls_server, ca_file: Path) -> None:
    with opened(Names(other_test=[[PUBLIC]]), ca_file=str(ca_file)) as transport:
        assert get(transport, f"https://other.test:{tls_server.server_port}/x").outcome == "tls_error"


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for ca_file in (None, str(other)):
        with opened(Names(photos_test=[[PUBLIC]]), ca_file=ca_file) as transport:
            answer = get(transport, f"https://photos.test:{tls_server.server_port}/x")
            assert (answer.outcome, answer.status) == ("tls_error", None)


def test_a_server_that_speaks_no_tls_is_a_tls_error(server) -> None:
    with opened(Names()) as transport:
        assert get(transport, f"https://127.0.0.1:{server.server_port}/x").outcome == "tls_error"


def test_a_connection_lost_in_the_handshake_is_a_connect_error() -> None:
    def hang_up(sock: socket.socket, linger: bytes) -> None:
        connection, _ = sock.accept()
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()

    for linger in (b"\1\0\0\0\0\0\0\0", bytes(8)):
        with socket.create_server((PUBLIC, 0)) as sock, opened(Names()) as transport:
            thread = threading.Thread(target=hang_up, args=(sock, linger))
            thread.start()
            assert get(transport, f"https://127.0.0.1:{sock.getsockname()[1]}/x").outcome == "connect_error"
            thread.join()


def test_tls_that_ends_without_a_farewell_is_truncated(tls_server, ca_file: Path) -> None:
    def cut(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        h.close_connection = True  # the server's sockets close without telling TLS

    tls_server.on("/x", cut)
    with opened(Names(), ca_file=str(ca_file)) as transport:
        assert get(transport, f"https://127.0.0.1:{tls_server.server_port}/x").outcome == "truncated"


def test_a_drip_over_tls_ends_at_the_deadline(tls_server, ca_file: Path) -> None:
    tls_server.on("/x", lambda h: h.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + bytes(500)))
    with opened(Names(), ca_file=str(ca_file)) as transport:
        start = time.monotonic()
        assert get(transport, f"https://127.0.0.1:{tls_server.server_port}/x", seconds=0.6).outcome == "timeout"
        assert time.monotonic() - start < 0.7
