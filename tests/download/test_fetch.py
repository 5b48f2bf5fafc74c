import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.config import FetchConfig
from ml_images.download.connection import Network
from ml_images.download.fetch import Answer, fetch_once
from ml_images.download.session import open_session
from ml_images.outcomes import BY_NAME

CFG = FetchConfig(allow_private=True, read_timeout_s=0.4, connect_timeout_s=0.4)

Get = Callable[..., Answer]


@pytest.fixture
def get() -> Iterator[Get]:
    """Fetch a URL once; every call goes through the same session."""
    with open_session(CFG) as session:

        def call(url: str, seconds: float = 5.0, **changes: Any) -> Answer:
            return fetch_once(url, session, replace(CFG, **changes), time.monotonic() + seconds)

        yield call


def test_a_picture_comes_whole_with_what_was_said_about_it(server, get: Get, jpeg: bytes) -> None:
    url = server.on("/x.jpg", lambda h: h.reply(200, jpeg, Content_Type="image/jpeg"))
    assert get(url) == Answer("ok", url, 200, "image/jpeg", None, jpeg)


def test_requests_say_who_asks_and_carry_nothing_else(server, get: Get) -> None:
    url = server.on("/", lambda h: h.reply(200, b"x", Set_Cookie="track=1; Path=/"))
    get(url), get(url)
    for headers in server.headers_seen:
        assert headers["User-Agent"] == CFG.user_agent
        assert headers["Accept-Encoding"] == "identity"
        assert not {"Cookie", "Authorization", "Referer"} & headers.keys()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (204, "http_error"),
        (206, "http_error"),
        (304, "http_error"),
        (400, "http_error"),
        (401, "forbidden"),
        (403, "forbidden"),
        (404, "not_found"),
        (406, "http_error"),
        (408, "timeout"),
        (410, "not_found"),
        (429, "rate_limited"),
        (451, "forbidden"),
        (500, "server_error"),
        (503, "server_error"),
        (599, "server_error"),
    ],
)
def test_every_status_has_its_outcome(server, get: Get, status: int, outcome: str) -> None:
    url = server.on("/x", lambda h: h.reply(status, Retry_After="7"))
    assert get(url) == Answer(outcome, url, status, None, 7.0)


def test_redirects_are_followed_also_relative_and_not_ascii_ones(server, get: Get) -> None:
    url = server.on("/a/1", lambda h: h.reply(302, b"moved", Location="../b/2?x=y"))
    server.on("/b/2?x=y", lambda h: h.raw("HTTP/1.1 301 M\r\nLocation: /é\r\n\r\n".encode()))
    server.on("/%C3%A9", lambda h: h.reply(307, Location=server.url + "/end#part"))
    server.on("/end", lambda h: h.reply(200, b"here"))
    assert get(url).body == b"here"


def test_the_last_redirect_that_may_be_followed_is(server, get: Get) -> None:
    for step in range(4):
        server.on(f"/{step}", lambda h, step=step: h.reply(302, Location=f"/{step + 1}"))
    server.on("/4", lambda h: h.reply(200, b"here"))
    assert get(server.url + "/0", max_redirects=4).outcome == "ok"
    refused = get(server.url + "/0", max_redirects=3)
    assert (refused.outcome, refused.final_url, refused.status) == ("redirect_error", server.url + "/4", 302)
    assert get(server.url + "/4", max_redirects=0).outcome == "ok"
    assert get(server.url + "/3", max_redirects=0).outcome == "redirect_error"


def test_a_redirect_to_itself_ends(server, get: Get) -> None:
    url = server.on("/loop", lambda h: h.reply(302, Location="/loop"))
    assert get(url).outcome == "redirect_error"
    assert server.seen["/loop"] == 1 + CFG.max_redirects


@pytest.mark.parametrize(
    "location",
    ["ftp://a.example/x.jpg", "file:///etc/passwd", "http://", "http://[::1/x", "http://a b/", "javascript:1"],
)
def test_a_redirect_to_no_web_url_is_not_followed(server, get: Get, location: str) -> None:
    url = server.on("/x", lambda h: h.reply(302, Location=location))
    assert get(url).outcome == "redirect_error"


def test_a_redirect_without_a_place_is_an_error(server, get: Get) -> None:
    assert get(server.on("/x", lambda h: h.reply(302))).outcome == "http_error"


def test_an_endless_redirect_body_is_not_read(server, get: Get) -> None:
    def endless(h: Any) -> None:
        h.raw(b"HTTP/1.1 302 Found\r\nLocation: /end\r\n\r\n")
        h.drip(b"x" * 1000)

    server.on("/end", lambda h: h.reply(200, b"here"))
    start = time.monotonic()
    assert get(server.on("/x", endless)).outcome == "ok"
    assert time.monotonic() - start < 0.3


def test_a_redirect_to_the_picture_for_gone_photos_is_told_without_fetching_it(server, get: Get) -> None:
    url = server.on("/x.jpg", lambda h: h.reply(302, Location="/photo_unavailable.png"))
    answer = get(url)
    assert (answer.outcome, answer.final_url) == ("placeholder", server.url + "/photo_unavailable.png")
    assert server.seen["/photo_unavailable.png"] == 0


def test_a_body_that_ends_early_is_truncated(server, get: Get) -> None:
    assert (
        get(server.on("/x", lambda h: h.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive!"))).outcome
        == "truncated"
    )


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


def test_a_length_that_is_too_short_cuts_and_does_not_confuse_the_next_request(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"12345HTTP/1.1 200 OK\r\n\r\nfake", Content_Length="5"))
    other = server.on("/y", lambda h: h.reply(200, b"other"))
    assert get(url).body == b"12345"
    assert get(other).body == b"other"


def test_the_byte_cap_holds_with_announced_unannounced_and_packed_bodies(server, get: Get) -> None:
    plain = server.on("/announced", lambda h: h.reply(200, bytes(1001)))
    silent = server.on("/unannounced", lambda h: h.raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1001)))
    bomb = gzip.compress(bytes(10_000_000))
    packed = server.on("/packed", lambda h: h.reply(200, bomb, Content_Encoding="gzip"))
    for url in (plain, silent):
        assert get(url, max_bytes=1000).outcome == "too_large"
        assert len(get(url, max_bytes=1001).body or b"") == 1001
    assert get(packed, max_bytes=100_000).outcome == "too_large"


def test_gzip_that_nobody_asked_for_is_unpacked(server, get: Get, jpeg: bytes) -> None:
    url = server.on("/x", lambda h: h.reply(200, gzip.compress(jpeg), Content_Encoding="gzip"))
    assert get(url).body == jpeg


def test_what_is_called_gzip_and_is_not_breaks_http(server, get: Get, jpeg: bytes) -> None:
    url = server.on("/x", lambda h: h.reply(200, jpeg, Content_Encoding="gzip"))
    assert get(url).outcome == "http_error"


@pytest.mark.parametrize(
    "noise",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_an_http_error(server, get: Get, noise: bytes) -> None:
    assert get(server.on("/x", lambda h: h.raw(noise))).outcome == "http_error"


def test_a_connection_that_closes_without_a_word_is_a_connect_error(server, get: Get) -> None:
    assert get(server.on("/x", lambda h: h.raw(b""))).outcome == "connect_error"


def test_a_reset_within_the_body_is_a_connect_error(server, get: Get) -> None:
    def reset(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        time.sleep(0.05)  # else the reset overtakes the headers
        h.connection.close()
        h.close_connection = True

    assert get(server.on("/x", reset)).outcome == "connect_error"


def test_nobody_listening_is_a_connect_error(get: Get) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert get(f"http://127.0.0.1:{taken.getsockname()[1]}/").outcome == "connect_error"


def test_silence_ends_at_the_read_timeout(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"http://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert 0.3 < time.monotonic() - start < 0.8


def test_silence_ends_at_the_deadline_where_that_is_nearer(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"http://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.1).outcome == "timeout"
    assert time.monotonic() - start < 0.3


def test_silence_in_a_tls_handshake_ends_at_the_connect_timeout(listener: socket.socket, get: Get) -> None:
    start = time.monotonic()
    assert get(f"https://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert time.monotonic() - start < 1.0


def test_a_dripping_tls_handshake_ends_at_the_connect_timeout(listener: socket.socket, get: Get) -> None:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a handshake message of 16 KiB begins
            with contextlib.suppress(OSError):
                for _ in range(40):
                    time.sleep(0.05)
                    connection.sendall(b"\x03")

    dripping = threading.Thread(target=drip)
    dripping.start()
    start = time.monotonic()
    assert get(f"https://127.0.0.1:{listener.getsockname()[1]}/").outcome == "timeout"
    assert time.monotonic() - start < 1.0
    dripping.join()


DRIPS = {
    "status line": b"HTTP/1.1 200 " + b"O" * 500,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500,
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + bytes(500),
    "chunk sizes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 500,
    "error body": b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n" + bytes(500),
    "redirect body": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 500\r\n\r\n" + bytes(500),
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_drip_never_outlives_the_deadline(server, get: Get, where: str) -> None:
    text = DRIPS[where]
    head, drops = (text.split(b"\r\n\r\n")[0] + b"\r\n\r\n", text) if "body" in where else (b"", text)

    def drip(h: Any) -> None:
        h.wfile.write(head)
        h.drip(drops[len(head) :])

    start = time.monotonic()
    answer = get(server.on("/x", drip), seconds=0.5)
    assert time.monotonic() - start < 0.75
    assert answer.outcome == ("not_found" if where == "error body" else "timeout")


def test_after_the_deadline_nobody_is_asked(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    assert get(url, seconds=-1).outcome == "timeout"
    assert server.seen["/x"] == 0


def test_connections_are_used_again_also_after_errors_and_redirects(server, get: Get, jpeg: bytes) -> None:
    ok = server.on("/ok", lambda h: h.reply(200, jpeg))
    missing = server.on("/missing", lambda h: h.reply(404, b"<html>" * 1000))
    moved = server.on("/moved", lambda h: h.reply(302, b"<html>" * 100, Location="/ok"))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    parts = server.on("/parts", lambda h: h.wfile.write(chunked))
    for _ in range(3):
        assert [get(url).outcome for url in (ok, missing, moved, parts)] == ["ok", "not_found", "ok", "ok"]
    assert server.num_connections == 1


def test_an_earlier_deadline_does_not_haunt_a_kept_connection(server, get: Get) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    assert get(url, seconds=0.2).outcome == "ok"
    time.sleep(0.25)
    assert get(url).outcome == "ok"
    assert server.num_connections == 1


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=30))
def test_any_url_at_all_ends_in_an_outcome(rest: str) -> None:
    def nowhere(*args: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    cfg = FetchConfig()
    with open_session(cfg, Network(resolve=nowhere)) as session:
        for url in (f"http://{rest}", f"https://photos.test/{rest}"):
            answer = fetch_once(url, session, cfg, time.monotonic() + 5)
            assert answer.outcome in BY_NAME and answer.body is None
