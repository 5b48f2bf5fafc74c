"""Outcomes, bounds and bookkeeping of the transport on real sockets; addresses and TLS are in test_exchange.py."""

import contextlib
import gzip
import os
import resource
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.config import FetchConfig
from ml_images.download.curl import CurlTransport
from ml_images.download.robots import MAX_BYTES
from ml_images.download.transport import RESEND, Headers, Request, Response
from ml_images.errors import InputError
from ml_images.outcomes import BY_NAME

CFG = FetchConfig(allow_private=True, read_timeout_s=0.4, connect_timeout_s=0.4)

Get = Callable[..., Response]
Accept = Callable[[int, Headers], str | None]


def everything(status: int, headers: Headers) -> None:
    return None


def fetch(
    transport: CurlTransport, *urls: str, seconds: float = 5.0, accept: Accept = everything, robots: bool = False
) -> list[Response]:
    """The answers in the order of the URLs, all asked for at once; what is to be sent again is, as by the crawler."""
    requests = [Request(url, transport.now() + seconds, accept, is_robots_file=robots) for url in urls]
    places = {request: place for place, request in enumerate(requests)}
    for request in requests:
        transport.start(request)
    done: dict[int, Response] = {}
    while len(done) < len(requests):
        for response in transport.poll(10):
            place = places.pop(response.request)
            if response.outcome == RESEND and not response.request.is_resent:
                again = replace(response.request, is_resent=True)
                places[again] = place
                transport.start(again)
            else:
                done[place] = response
    assert transport.num_in_flight == transport.bytes_in_flight == 0
    return [done[place] for place in range(len(requests))]


@contextlib.contextmanager
def opened(cfg: FetchConfig = CFG, **options: Any) -> Iterator[CurlTransport]:
    transport = CurlTransport(cfg, **options)
    try:
        yield transport
    finally:
        transport.close()


@pytest.fixture
def get() -> Iterator[Get]:
    """Fetch a URL; every call without changes to the configuration goes through the same transport."""
    with opened() as kept:

        def call(url: str, seconds: float = 5.0, accept: Accept = everything, **changes: Any) -> Response:
            if not changes:
                return fetch(kept, url, seconds=seconds, accept=accept)[0]
            with opened(replace(CFG, **changes)) as other:
                return fetch(other, url, seconds=seconds, accept=accept)[0]

        yield call


def test_an_answer_comes_whole_with_what_was_said_about_it(server, get: Get, jpeg: bytes) -> None:
    url = server.on("/x.jpg", lambda h: h.reply(200, jpeg, Content_Type="image/jpeg", X_Robots_Tag="noai"))
    answer = get(url)
    assert (answer.outcome, answer.status, answer.body) == ("ok", 200, jpeg)
    assert answer.headers["content-type"] == "image/jpeg" and answer.headers["x-robots-tag"] == "noai"
    assert answer.request.url == url and 0 < answer.elapsed_s < 1


def test_requests_say_who_asks_and_carry_nothing_else(server, get: Get) -> None:
    url = server.on("/", lambda h: h.reply(200, b"x", Set_Cookie="track=1; Path=/"))
    get(url), get(url)
    host = url.split("/")[2]
    for headers in server.headers_seen:
        assert headers == {
            "Host": host,
            "User-Agent": CFG.user_agent,
            "Accept": "image/*,*/*;q=0.5",
            "Accept-Encoding": "identity",
        }


def test_the_path_that_is_asked_for_is_the_one_that_was_checked(server, get: Get) -> None:
    for path in ("/b", "/..%2Fb", "/.b"):
        server.on(path, lambda h: h.reply(200, b"x"))
    for path in ("/a/../b", "/a/%2e%2E/./b", "/..%2Fb", "/.b"):
        assert get(server.url + path).body == b"x"
    assert server.seen == {"/b": 2, "/..%2Fb": 1, "/.b": 1}


def test_nothing_comes_from_the_environment(monkeypatch, server, tmp_path: Path, get: Get) -> None:
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    assert get(server.on("/x", lambda h: h.reply(200, b"x"))).body == b"x"
    assert "Authorization" not in server.headers_seen[0]


def test_a_password_in_a_url_is_sent_to_nobody(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x")).replace("http://", "http://me:secret@")
    assert (get(url).outcome, server.num_connections) == ("bad_url", 0)


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 401, 404, 407, 429, 503, 599])
def test_any_complete_answer_is_ok_for_the_transport_and_asked_for_once(server, get: Get, status: int) -> None:
    url = server.on("/x", lambda h: h.reply(status, b"" if status in (204, 304) else b"body", Location="/y"))
    answer = get(url)
    assert (answer.outcome, answer.status) == ("ok", status)
    assert server.seen == {"/x": 1}


def test_accept_sees_the_final_header_once_and_before_the_body(server, get: Get) -> None:
    seen = []

    def accept(status: int, headers: Headers) -> None:
        seen.append((status, headers["x-a"], time.monotonic()))

    def interim_then_late(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX-A: early\r\n\r\n")
        h.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.2)
        h.wfile.write(b"3\r\nabc\r\n0\r\nX-A: trailer\r\n\r\n")

    answer = get(server.on("/x", interim_then_late), accept=accept)
    assert (answer.outcome, answer.body, answer.headers["x-a"]) == ("ok", b"abc", "b")
    assert [(status, value) for status, value, _ in seen] == [(200, "b")]
    assert time.monotonic() - seen[0][2] > 0.15


def test_unwanted_bodies_are_not_given_and_short_ones_keep_the_connection(server, get: Get) -> None:
    chunked = b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    urls = [
        server.on("/length", lambda h: h.reply(404, b"<html>" * 10_000)),
        server.on("/chunks", lambda h: h.wfile.write(chunked)),
        server.on("/none", lambda h: h.reply(404)),
    ]
    for url in urls * 2:
        answer = get(url, accept=lambda status, headers: "not_found")
        assert (answer.outcome, answer.status, answer.body) == ("not_found", 404, b"")
    assert server.num_connections == 1


@pytest.mark.parametrize("head", [b"Content-Length: 10000000\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
def test_unwanted_bodies_that_are_long_cost_the_connection(server, get: Get, head: bytes) -> None:
    sent = []

    def long(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 404 Not Found\r\n" + head + b"\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                h.wfile.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
                sent.append(10_000)
        h.close_connection = True

    start = time.monotonic()
    assert get(server.on("/x", long), accept=lambda status, headers: "not_found").outcome == "not_found"
    assert time.monotonic() - start < 0.5
    time.sleep(0.1)
    assert len(sent) < 1000


def test_unwanted_bodies_that_drip_are_not_waited_for(server, get: Get) -> None:
    def dripping(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n")
        h.drip(bytes(500))

    start = time.monotonic()
    answer = get(server.on("/x", dripping), accept=lambda status, headers: "not_found")
    assert (answer.outcome, answer.status) == ("not_found", 404)
    assert time.monotonic() - start < 1.0


def test_a_bug_in_accept_stops_the_loop(server, get: Get) -> None:
    def accept(status: int, headers: Headers) -> None:
        raise AttributeError("our own bug")

    with opened() as transport, pytest.raises(AttributeError, match="our own bug"):
        fetch(transport, server.on("/x", lambda h: h.reply(200, b"x")), accept=accept)


def test_a_body_that_ends_early_is_truncated(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive!"))
    assert (get(url).outcome, get(url).status, get(url).body) == ("truncated", 200, b"")


@pytest.mark.parametrize("chunks", [b"5\r\nfi", b"5\r\nfive!\r\n", b"5\r\nfive!\r\n9\r\nx"])
def test_chunks_that_end_early_are_truncated(server, get: Get, chunks: bytes) -> None:
    url = server.on("/x", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    assert get(url).outcome == "truncated"


def test_chunks_are_put_together(server, get: Get) -> None:
    chunks = b"5\r\nfive!\r\n3\r\n123\r\n0\r\n\r\n"
    url = server.on("/x", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks))
    assert get(url).body == b"five!123"


def test_a_body_without_length_ends_with_the_connection(server, get: Get) -> None:
    assert get(server.on("/x", lambda h: h.raw(b"HTTP/1.1 200 OK\r\n\r\nall there"))).body == b"all there"
    assert get(server.on("/y", lambda h: h.raw(b"HTTP/1.0 200 OK\r\n\r\nall there"))).body == b"all there"


def test_a_length_that_is_too_short_cuts_and_does_not_confuse_the_next_request(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"12345HTTP/1.1 200 OK\r\n\r\nfake", Content_Length="5"))
    other = server.on("/y", lambda h: h.reply(200, b"other"))
    for _ in range(3):
        assert get(url).body == b"12345"
        assert get(other).body == b"other"


def test_the_byte_cap_holds_with_announced_unannounced_and_packed_bodies(server, get: Get) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    urls = {
        "announced": server.on("/announced", lambda h: h.reply(200, bytes(1001))),
        "unannounced": server.on("/unannounced", lambda h: h.raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1001))),
        "packed": server.on("/packed", lambda h: h.reply(200, gzip.compress(bytes(1001)), Content_Encoding="gzip")),
    }
    for url in urls.values():
        refused = get(url, max_bytes=1000)
        assert (refused.outcome, refused.status, refused.body) == ("too_large", 200, b"")
        assert len(get(url, max_bytes=1001).body) == 1001
    url = server.on("/bomb", lambda h: h.reply(200, bomb, Content_Encoding="gzip"))
    assert get(url, max_bytes=len(bomb) + 1).outcome == "too_large"


@pytest.mark.parametrize("max_bytes", [1000, 10_000_000])
def test_of_a_robots_file_the_first_500_kib_are_read_whatever_a_picture_may_take(server, max_bytes: int) -> None:
    file = b"".join(b"Disallow: /%d\n" % number for number in range(200_000))
    assert len(file) > 4 * MAX_BYTES
    answers = {
        "announced": lambda h: h.reply(200, file),
        "unannounced": lambda h: h.raw(b"HTTP/1.1 200 OK\r\n\r\n" + file),
        "packed": lambda h: h.reply(200, gzip.compress(file), Content_Encoding="gzip"),
    }
    for answer in answers.values():
        with opened(replace(CFG, max_bytes=max_bytes)) as transport:
            [response] = fetch(transport, server.on("/elsewhere.txt", answer), robots=True)
            assert (response.outcome, response.status) == ("ok", 200)
            assert MAX_BYTES < len(response.body) < MAX_BYTES + 128 * 1024 and file.startswith(response.body)
            assert (transport.bytes_in_flight, transport.num_in_flight) == (0, 0)
    url = server.on("/elsewhere.txt", lambda h: h.reply(200, file[:MAX_BYTES]))
    with opened(replace(CFG, max_bytes=max_bytes)) as transport:
        assert fetch(transport, url, robots=True)[0].body == file[:MAX_BYTES]


def test_an_announced_length_above_the_cap_is_refused_before_the_body(server, get: Get) -> None:
    def announce(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        server.over.wait(2)

    start = time.monotonic()
    assert get(server.on("/x", announce), max_bytes=1000).outcome == "too_large"
    assert time.monotonic() - start < 0.3


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_what_comes_packed_though_nobody_asked_is_unpacked(
    server, get: Get, jpeg: bytes, coding: str, pack: Any
) -> None:
    url = server.on("/x", lambda h: h.reply(200, pack(jpeg), Content_Encoding=coding))
    assert get(url).body == jpeg


def test_brotli_is_unpacked(server, get: Get) -> None:
    # RFC 7932: window of 16 bits, one uncompressed meta-block of 5 bytes, an empty last one.
    packed = bytes([0x0B, 0x02, 0x80]) + b"hello" + bytes([0x03])
    answer = get(server.on("/x", lambda h: h.reply(200, packed, Content_Encoding="br")))
    assert (answer.outcome, answer.body) == ("ok", b"hello")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "nonsense"])
def test_what_is_called_packed_and_cannot_be_unpacked_breaks_http(server, get: Get, coding: str) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"\xff\xd8 no such thing", Content_Encoding=coding))
    assert get(url).outcome == "http_error"


def test_what_is_packed_more_than_once_is_refused_before_it_can_blow_up(server, get: Get) -> None:
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    before = time.process_time()
    for headers in ({"Content_Encoding": "gzip, gzip"}, {"Content_Encoding": "gzip", "Transfer_Encoding": "gzip"}):
        assert get(server.on("/x", lambda h, headers=headers: h.reply(200, bomb, **headers))).outcome == "http_error"
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"hello, I am no HTTP server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n123456",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 70 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
)
def test_what_is_no_http_is_an_http_error(server, get: Get, noise: bytes) -> None:
    assert get(server.on("/x", lambda h: h.raw(noise))).outcome == "http_error"


def test_a_connection_that_closes_without_a_word_is_a_connect_error(server, get: Get) -> None:
    assert get(server.on("/x", lambda h: h.raw(b""))).outcome == "connect_error"
    assert get(server.on("/y", lambda h: h.reset())).outcome == "connect_error"
    assert server.seen == {"/x": 1, "/y": 1}


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"])
def test_a_header_that_ends_early_is_not_ok(server, get: Get, begun: bytes) -> None:
    answer = get(server.on("/x", lambda h: h.raw(begun)))
    assert (answer.outcome, answer.status) == ("connect_error", None)


def test_a_reset_within_the_body_is_a_connect_error(server, get: Get) -> None:
    def reset(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        time.sleep(0.05)  # else the reset overtakes the header
        h.reset()

    assert get(server.on("/x", reset)).outcome == "connect_error"


def test_nobody_listening_is_a_connect_error(get: Get) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert get(f"http://127.0.0.1:{taken.getsockname()[1]}/").outcome == "connect_error"


def test_silence_ends_at_the_read_timeout(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"http://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert 0.39 < time.monotonic() - start < 0.7


def test_silence_after_the_header_ends_at_the_read_timeout(server, get: Get) -> None:
    def fall_silent(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        h.drip(bytes(4))
        server.over.wait(2)

    start = time.monotonic()
    answer = get(server.on("/x", fall_silent))
    assert (answer.outcome, answer.status, answer.body) == ("timeout", 200, b"")
    assert 0.55 < time.monotonic() - start < 0.9  # 0.2 s of drops, then 0.4 s


def test_silence_ends_at_the_deadline_where_that_is_nearer(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.1).outcome == "timeout"
    assert time.monotonic() - start < 0.2


def test_a_connection_that_never_comes_about_ends_at_the_connect_timeout(get: Get) -> None:
    with socket.socket() as full:  # a listener whose queue is full drops further attempts
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            start = time.monotonic()
            assert get(f"http://127.0.0.1:{full.getsockname()[1]}/").outcome == "timeout"
            assert 0.35 < time.monotonic() - start < 0.8


def test_silence_in_a_tls_handshake_ends_at_the_connect_timeout(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"https://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert time.monotonic() - start < 0.8


def test_a_dripping_tls_handshake_ends_at_the_connect_timeout(listener: socket.socket, get: Get) -> None:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a handshake message of 16 KiB begins
            for _ in range(40):
                time.sleep(0.05)
                connection.sendall(b"\x03")

    dripping = threading.Thread(target=drip)
    dripping.start()
    start = time.monotonic()
    assert get(f"https://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert time.monotonic() - start < 0.8
    dripping.join()


DRIPS = {
    "status line": b"HTTP/1.1 200 " + b"O" * 500,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500,
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + bytes(500),
    "chunk sizes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 500,
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_drip_never_outlives_the_deadline(server, get: Get, where: str) -> None:
    text = DRIPS[where]
    head, drops = (text.split(b"\r\n\r\n")[0] + b"\r\n\r\n", text) if where == "body" else (b"", text)

    def drip(h: Any) -> None:
        h.wfile.write(head)
        h.drip(drops[len(head) :])

    start = time.monotonic()
    answer = get(server.on("/x", drip), seconds=0.7)
    assert answer.outcome in (("timeout", "http_error") if where == "chunk sizes" else ("timeout",))
    assert time.monotonic() - start < 0.8
    if where == "body":
        assert time.monotonic() - start > 0.65  # the read timeout did not cut what kept coming


def test_after_the_deadline_nobody_is_asked(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    assert get(url, seconds=-1).outcome == "timeout"
    assert server.num_connections == 0


def test_connections_are_used_again_whatever_the_status(server, get: Get, jpeg: bytes) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    urls = [
        server.on("/ok", lambda h: h.reply(200, jpeg)),
        server.on("/missing", lambda h: h.reply(404, b"<html>" * 1000)),
        server.on("/moved", lambda h: h.reply(302, b"<html>" * 100, Location="/ok")),
        server.on("/parts", lambda h: h.wfile.write(chunked)),
    ]
    for url in urls * 3:
        assert get(url).outcome == "ok"
    assert server.num_connections == 1


def test_an_earlier_deadline_does_not_haunt_a_kept_connection(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    assert get(url, seconds=0.2).outcome == "ok"
    time.sleep(0.5)
    assert get(url).outcome == "ok"
    assert server.num_connections == 1


def test_connections_that_closed_while_they_were_kept_are_not_missed(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.hang_up(200, b"x"))
    for _ in range(5):
        assert get(url).outcome == "ok"
        time.sleep(0.02)
    assert server.seen == {"/x": 5}


def closing_when_asked(sock: socket.socket, answers: int, log: list[int]) -> None:
    """Each connection gets so many answers; on the next request it closes without one. `log` counts the requests."""
    while True:
        try:
            connection, _ = sock.accept()
        except OSError:
            return
        with connection:
            for number in range(answers + 1):
                if not connection.recv(4096):
                    break
                log.append(number)
                if number < answers:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")


def test_a_kept_connection_that_closes_on_the_request_costs_one_more_request_and_no_more(listener) -> None:
    log: list[int] = []
    serving = threading.Thread(target=closing_when_asked, args=(listener, 1, log))
    serving.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with opened() as transport:
        assert [fetch(transport, url)[0].outcome for _ in range(4)] == ["ok"] * 4
    assert len(log) == 4 + 3  # each request after the first met the dead connection of the one before
    listener.shutdown(socket.SHUT_RDWR)
    serving.join()


def test_a_request_that_a_kept_connection_does_not_answer_comes_back_before_anybody_is_asked_again(listener) -> None:
    """By itself libcurl would ask at once, on as many as five kept connections."""
    log: list[int] = []
    serving = threading.Thread(target=closing_when_asked, args=(listener, 1, log))
    serving.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with opened() as transport:
        assert fetch(transport, url)[0].outcome == "ok"
        transport.start(Request(url, transport.now() + 5, everything))
        (response,) = transport.poll(5)
        assert (response.outcome, len(log)) == (RESEND, 2)
    listener.shutdown(socket.SHUT_RDWR)
    serving.join()


def test_a_request_that_was_answered_in_part_is_not_repeated(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    get(url)
    assert get(server.on("/y", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nX: y\r\n"))).outcome == "connect_error"
    assert server.seen["/y"] == 1


LIKE_AN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
@pytest.mark.parametrize(("scheme", "rest"), [("http", LIKE_AN_ANSWER), ("http", b"</html>"), ("https", b"</html>")])
def test_the_rest_of_a_body_that_is_too_long_is_never_the_next_answer(
    server, tls_server, ca_file: Path, scheme: str, pause_s: float, rest: bytes
) -> None:
    def longer_than_said(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        if pause_s:
            h.wfile.write(b"12345")
            time.sleep(pause_s)
            h.wfile.write(rest)
        else:
            h.wfile.write(b"12345" + rest)

    there = {"http": server, "https": tls_server}[scheme]
    long, other = there.on("/long", longer_than_said), there.on("/other", lambda h: h.reply(200, b"other"))
    with opened(ca_file=str(ca_file)) as transport:
        for _ in range(5):
            assert fetch(transport, long)[0].body == b"12345"
            time.sleep(2 * pause_s)
            answer = fetch(transport, other)[0]
            assert (answer.body, answer.detail) == (b"other", "")
    assert there.seen["/other"] <= 10


def test_kept_connections_that_the_host_closed_meanwhile_cost_no_request(server) -> None:
    with opened(connections=8) as transport:
        url = server.on("/x", lambda h: (time.sleep(0.1), h.hang_up(200, b"x")))
        assert {answer.outcome for answer in fetch(transport, *[url] * 8)} == {"ok"}
        time.sleep(0.05)
        other = server.on("/y", lambda h: h.reply(200, b"y"))
        assert fetch(transport, other)[0].outcome == "ok"
    assert server.seen == {"/x": 8, "/y": 1}


def test_only_so_many_connections_are_open_at_a_time(server) -> None:
    most, now, lock = 0, 0, threading.Lock()

    def slow(h: Any) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        h.reply(200, b"x")

    urls = [server.on(f"/{number}", slow) for number in range(60)]
    with opened(connections=7) as transport:
        assert {answer.outcome for answer in fetch(transport, *urls)} == {"ok"}
    assert most == 7 and server.num_connections == 7


def test_thousands_in_flight_end_well_on_few_descriptors(server) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    before = num_files()
    with opened(replace(CFG, read_timeout_s=10.0), connections=32) as transport:
        assert {answer.outcome for answer in fetch(transport, *[url] * 2000, seconds=30)} == {"ok"}
        assert num_files() - before < 2 * 32 + 10 + 32  # the server's ends are in this process as well
    assert server.seen["/x"] == 2000


def test_only_so_many_connections_are_kept(server) -> None:
    def resolve(host: str, port: int, family: int, kind: int) -> list:
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]

    server.on("/x", lambda h: h.reply(200, b"x"))
    before = num_files()
    with opened(connections=4, resolve=resolve) as transport:
        urls = [f"http://host{number}.test:{server.server_port}/x" for number in range(40)]
        assert {answer.outcome for answer in fetch(transport, *urls)} == {"ok"}
        until = time.monotonic() + 2
        while (both_ends := num_files() - before - 10) > 2 * 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert both_ends <= 2 * 4


def test_those_who_wait_for_a_connection_end_at_their_deadline(listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with opened(replace(CFG, read_timeout_s=10.0), connections=1) as transport:
        start = time.monotonic()
        answers = fetch(transport, *[url] * 5, seconds=0.3)
        assert time.monotonic() - start < 0.45
    assert {answer.outcome for answer in answers} == {"timeout"}


def num_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_open_by_a_thousand_requests_of_all_kinds(
    server, tls_server, ca_file: Path, jpeg: bytes
) -> None:
    urls = [
        server.on("/ok", lambda h: h.reply(200, jpeg)),
        server.on("/cut", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")),
        server.on("/reset", lambda h: h.reset()),
        server.on("/large", lambda h: h.reply(200, bytes(100_000))),
        tls_server.on("/ok", lambda h: h.reply(200, jpeg)),
        "http://nowhere.test/",
        "http://127.0.0.1:1/",
        "http:///",
    ]
    cfg = replace(CFG, max_bytes=50_000, read_timeout_s=5.0, connect_timeout_s=5.0)
    threads = set(threading.enumerate())
    before = num_files()
    with opened(cfg, ca_file=str(ca_file), connections=16, resolve=nowhere) as transport:
        for _ in range(13):
            outcomes = [answer.outcome for answer in fetch(transport, *urls * 10, seconds=20)]
            expected = ["ok", "truncated", "connect_error", "too_large", "ok", "dns_error", "connect_error", "bad_url"]
            assert outcomes == expected * 10
        open_now = num_files() - before
    until = time.monotonic() + 3
    while (num_files() > before or set(threading.enumerate()) - threads) and time.monotonic() < until:
        time.sleep(0.02)
    assert num_files() == before and not set(threading.enumerate()) - threads
    assert open_now < 3 * 16 + 10


def test_closing_in_the_middle_of_everything_ends_at_once(server, listener: socket.socket) -> None:
    before = num_files()
    let_go = threading.Event()

    def hanging(*asked: object) -> list:
        let_go.wait(5)
        return []

    transport = CurlTransport(CFG, resolve=hanging)
    silent = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    for url in [silent, server.on("/x", lambda h: h.drip(b"HTTP/1.1 200 " + b"O" * 999)), "http://slow.test/"]:
        transport.start(Request(url, transport.now() + 60, everything))
    assert transport.poll(0.1) == [] and transport.num_in_flight == 3
    start = time.monotonic()
    transport.close()
    assert time.monotonic() - start < 0.1
    assert transport.num_in_flight == 0
    server.over.set(), let_go.set()
    while num_files() > before and time.monotonic() < start + 3:
        time.sleep(0.02)
    assert num_files() <= before


def test_an_interrupt_comes_out_of_poll_at_once(listener: socket.socket, request: pytest.FixtureRequest) -> None:
    # A Spark session of an earlier test ends the process on Ctrl-C, as that of a job should.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with opened(replace(CFG, read_timeout_s=20.0)) as transport:
        transport.start(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/", transport.now() + 20, everything))
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            transport.poll(20)
        assert time.monotonic() - start < 1


def test_poll_wakes_for_watched_files_and_for_nothing_else(listener: socket.socket) -> None:
    reading, writing = os.pipe()
    with opened() as transport:
        transport.watch(reading)
        start = time.monotonic()
        assert transport.poll(0.1) == [] and time.monotonic() - start >= 0.1
        os.write(writing, b"!")
        start = time.monotonic()
        assert transport.poll(5) == [] and time.monotonic() - start < 0.1
        transport.unwatch(reading)
        start = time.monotonic()
        assert transport.poll(0.1) == [] and time.monotonic() - start >= 0.1
    os.close(reading), os.close(writing)


def test_waiting_costs_no_processor_time(listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with opened(replace(CFG, read_timeout_s=9.0, connect_timeout_s=9.0)) as transport:
        for _ in range(50):
            transport.start(Request(url, transport.now() + 60, everything))
        transport.poll(0.1)
        before = time.process_time()
        transport.poll(0.5)
        assert time.process_time() - before < 0.05


def test_bodies_under_way_are_counted(server) -> None:
    def pausing(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + bytes(2000))
        server.over.wait(0.2)
        h.wfile.write(bytes(1000))

    with opened() as transport:
        transport.start(Request(server.on("/x", pausing), transport.now() + 5, everything))
        assert transport.poll(0.1) == []
        assert (transport.num_in_flight, transport.bytes_in_flight) == (1, 2000)
        [answer] = transport.poll(5)
        assert len(answer.body) == 3000
        assert (transport.num_in_flight, transport.bytes_in_flight) == (0, 0)


def test_bodies_in_tiny_pieces_take_no_more_memory_than_others(server) -> None:
    pieces = b"2\r\nab\r\n" * 300_000 + b"0\r\n\r\n"
    url = server.on("/x", lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces))
    with opened() as transport:
        fetch(transport, server.on("/y", lambda h: h.reply(200, bytes(600_000))))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        [answer] = fetch(transport, url)
        assert answer.body == b"ab" * 300_000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB; as a list of pieces: 13,000


def test_a_missing_file_of_authorities_is_named() -> None:
    with pytest.raises(InputError, match=r"no file of certificate authorities: /nowhere/ca\.pem"):
        CurlTransport(CFG, ca_file="/nowhere/ca.pem")


def test_a_slow_name_holds_nobody_else_and_ends_at_its_deadline(server) -> None:
    let_go = threading.Event()

    def resolve(host: str, port: int, family: int, kind: int) -> list:
        if host != "fast.test":
            let_go.wait(5)
        if host == "none.test":
            return []
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]

    port = server.server_port
    server.on("/x", lambda h: h.reply(200, b"x"))
    with opened(resolve=resolve) as transport:
        urls = [f"http://{name}.test:{port}/x" for name in ("slow", "fast", "none")]
        slow, fast, none = fetch(transport, *urls, seconds=0.3)
        assert (slow.outcome, fast.outcome, none.outcome) == ("timeout", "ok", "timeout")
        assert fast.elapsed_s < 0.2 <= slow.elapsed_s < 0.45
        let_go.set()
        assert [answer.outcome for answer in fetch(transport, *urls)] == ["ok", "ok", "dns_error"]  # the late answers
    assert server.seen["/x"] == 3


def nowhere(*args: object) -> list:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


@given(st.text(max_size=30))
def test_any_url_at_all_ends_in_an_outcome(rest: str) -> None:
    with opened(FetchConfig(), resolve=nowhere) as transport:
        for answer in fetch(transport, f"http://{rest}", f"https://photos.test/{rest}", rest):
            assert answer.outcome in BY_NAME and answer.outcome != "ok" and answer.body == b""


@given(st.binary(max_size=200), st.booleans())
def test_any_answer_at_all_ends_in_an_outcome(noise: bytes, is_body: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if is_body else b"HTTP/1."
    with socket.create_server(("127.0.0.1", 0)) as sock, opened() as transport:

        def serve() -> None:
            connection, _ = sock.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(head + noise)

        serving = threading.Thread(target=serve)
        serving.start()
        [answer] = fetch(transport, f"http://127.0.0.1:{sock.getsockname()[1]}/")
        assert answer.outcome in ("ok", "http_error", "truncated", "connect_error", "timeout")
        serving.join()
