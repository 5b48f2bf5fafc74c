"""Bodies that find no room: pauses of real transfers, and what they may cost. The bookkeeping is in test_budget.py."""

import contextlib
import gzip
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ml_images.download.budget import PIECE
from ml_images.download.config import FetchConfig
from ml_images.download.curl import CurlTransport
from ml_images.download.transport import Headers, Request, Response

CFG = FetchConfig(allow_private=True, read_timeout_s=0.3, connect_timeout_s=2.0)
SIZE = 1_500_000


def everything(status: int, headers: Headers) -> None:
    return None


@contextlib.contextmanager
def opened(buffer_bytes: float, cfg: FetchConfig = CFG, **options: Any) -> Iterator[CurlTransport]:
    transport = CurlTransport(cfg, **options)
    transport.buffer_bytes = buffer_bytes
    try:
        yield transport
    finally:
        transport.close()


def start(transport: CurlTransport, *urls: str, seconds: float = 20.0) -> None:
    for url in urls:
        transport.start(Request(url, transport.now() + seconds, everything))


def drain(transport: CurlTransport, number: int, decode_s: float = 0.0) -> tuple[list[Response], int]:
    """All answers, each "decoded" for so long before its bytes are free; and the most bytes that were held."""
    answers: list[Response] = []
    waiting: list[Response] = []
    most, free_at = 0, 0.0
    while len(answers) < number or waiting:
        came = transport.poll(0.005)
        most = max(most, transport.bytes_in_flight + sum(len(one.body) for one in [*came, *waiting]))
        answers += came
        waiting += [one for one in came if one.body]
        if waiting and transport.now() >= free_at:
            waiting.pop(0)
            free_at = transport.now() + decode_s
        transport.bytes_elsewhere = sum(len(one.body) for one in waiting)
    assert transport.num_in_flight == transport.bytes_in_flight == 0
    return answers, most


def picture(size: int) -> bytes:
    return Random(size).randbytes(size)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_bodies_never_hold_more_than_the_buffer_one_of_them_and_a_piece_each(
    server, tls_server, ca_file: Path, scheme: str
) -> None:
    body = picture(SIZE)
    there = {"http": server, "https": tls_server}[scheme]
    urls = [there.on(f"/{number}", lambda h: h.reply(200, body)) for number in range(12)]
    with opened(2_000_000, ca_file=str(ca_file)) as transport:
        start(transport, *urls)
        answers, most = drain(transport, 12, decode_s=0.02)
    assert all((answer.outcome, answer.body == body) == ("ok", True) for answer in answers)
    assert there.seen == {f"/{number}": 1 for number in range(12)}
    assert SIZE < most <= 2_000_000 + SIZE + 12 * PIECE < 12 * SIZE / 2


def test_a_pause_is_no_silence_and_does_not_count_towards_the_deadline(server) -> None:
    urls = [server.on(f"/{number}", lambda h: h.reply(200, bytes(SIZE))) for number in range(6)]
    with opened(SIZE) as transport:
        start(transport, *urls, seconds=0.5)
        before = time.monotonic()
        answers, _ = drain(transport, 6, decode_s=0.25)  # twice the deadline in all, longer than silence may last
    assert time.monotonic() - before > 1.0
    assert {answer.outcome for answer in answers} == {"ok"}
    assert max(answer.elapsed_s for answer in answers) < 0.5


def test_silence_and_the_deadline_count_again_once_a_pause_is_over(server) -> None:
    def fall_silent(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
        server.over.wait(5)

    def drip(h: Any) -> None:
        h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
        h.drip(bytes(100))

    urls = [server.on("/silent", fall_silent), server.on("/drip", drip)]
    with opened(100_000) as transport:
        transport.bytes_elsewhere = 1
        start(transport, *urls, seconds=0.8)
        assert transport.poll(0.4) == [] and transport.bytes_in_flight <= 100_000 + 2 * PIECE
        assert transport.poll(0.5) == []  # both are paused
        transport.bytes_elsewhere = 0
        before = time.monotonic()
        answers = dict[str, Response]()
        while len(answers) < 2:
            for answer in transport.poll(5):
                answers[answer.request.url[-4:]] = answer
    assert {answer.outcome for answer in answers.values()} == {"timeout"}
    assert answers["lent"].detail == "nothing came for 0.3 s" and answers["drip"].detail == "the deadline has passed"
    assert 0.25 < time.monotonic() - before < 2.5
    assert max(answer.elapsed_s for answer in answers.values()) < 1.0


def test_small_answers_pass_by_where_the_buffer_is_full(server) -> None:
    small = server.on("/small", lambda h: h.reply(200, b"x" * 1000))
    large = [server.on(f"/{number}", lambda h: h.reply(200, bytes(SIZE))) for number in range(3)]
    with opened(100_000) as transport:
        transport.bytes_elsewhere = 1
        start(transport, *large)
        assert transport.poll(0.2) == []
        start(transport, *[small] * 5)
        answers = list[Response]()
        until = time.monotonic() + 2
        while len(answers) < 5 and time.monotonic() < until:
            answers += transport.poll(0.1)
        assert [len(answer.body) for answer in answers] == [1000] * 5
        transport.bytes_elsewhere = 0
        assert len(drain(transport, 3)[0]) == 3


@pytest.mark.parametrize("size", [3_000_000, 80_000_000])
def test_packed_bodies_pause_too_and_their_cap_holds(server, size: int) -> None:
    packed = gzip.compress(bytes(size), 1)
    urls = [server.on(f"/{number}", lambda h: h.reply(200, packed, Content_Encoding="gzip")) for number in range(4)]
    with opened(100_000, replace(CFG, max_bytes=5_000_000)) as transport:
        start(transport, *urls)
        answers, most = drain(transport, 4, decode_s=0.02)
    outcome = "ok" if size < 5_000_000 else "too_large"
    assert [answer.outcome for answer in answers] == [outcome] * 4
    assert most <= 100_000 + 5_000_000 + 4 * PIECE


def test_what_packed_bodies_take_before_they_are_handed_over_is_bounded_too(server) -> None:
    """Also what libcurl holds, which a budget cannot see."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    packed = gzip.compress(bytes(20_000_000))  # 20 KB
    urls = [server.on(f"/{number}", lambda h: h.reply(200, packed, Content_Encoding="gzip")) for number in range(40)]
    answers, before, most = 0, resident(), 0
    with opened(30_000_000) as transport:
        start(transport, *urls)
        while answers < len(urls):
            came = transport.poll(1)
            most = max(most, resident())
            assert [len(answer.body) for answer in came] == [20_000_000] * len(came)
            answers += len(came)
    assert most - before < 150_000_000  # two bodies may be handed over at a time, and are copied once


def test_a_host_that_breaks_off_during_a_pause_is_noticed_after_it(server) -> None:
    def cut(h: Any) -> None:
        h.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(SIZE))

    urls = [server.on(f"/{number}", cut) for number in range(4)]
    with opened(100_000) as transport:
        transport.bytes_elsewhere = 1
        start(transport, *urls)
        transport.poll(0.2)
        transport.bytes_elsewhere = 0
        answers, _ = drain(transport, 4)
    assert {answer.outcome for answer in answers} == {"truncated"}


def test_waiting_for_room_costs_no_processor_time(server) -> None:
    urls = [server.on(f"/{number}", lambda h: h.reply(200, bytes(SIZE))) for number in range(20)]
    with opened(100_000) as transport:
        transport.bytes_elsewhere = 1
        start(transport, *urls)
        transport.poll(0.3)
        before = time.thread_time()
        assert transport.poll(0.5) == []
        assert time.thread_time() - before < 0.05


def test_closing_in_the_middle_of_a_pause_ends_at_once(server) -> None:
    threads = threading.active_count()
    urls = [server.on(f"/{number}", lambda h: h.reply(200, bytes(SIZE))) for number in range(4)]
    with opened(100_000) as transport:
        transport.bytes_elsewhere = 1
        start(transport, *urls)
        transport.poll(0.2)
        before = time.monotonic()
    assert time.monotonic() - before < 0.2 and threading.active_count() <= threads + 8
