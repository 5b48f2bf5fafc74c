"""Every fault as the bytes that a client sees."""

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from ml_images import outcomes
from ml_images.sample.faults import FAULTS, url_path
from ml_images.sample.files import Files
from ml_images.sample.hosts import HOSTS
from ml_images.sample.server import Server, serve
from ml_images.sample.serving import BEHAVIOURS, Connection, Service

PNG = b"\x89PNG" + bytes(range(256)) * 20
PLACE = "d/a%20b.png"
OK = [kind for kind, fault in FAULTS.items() if fault.outcome == "ok"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "d").mkdir()
    (folder / "d" / "a b.png").write_bytes(PNG)
    (folder / "photo_unavailable.png").write_bytes(b"gone")
    with serve(folder, addresses=("127.0.0.1", "127.0.0.2")) as running:
        yield running


def get(server: Server, kind: str, **kwargs: Any) -> requests.Response:
    return requests.get(server.url + url_path(kind, PLACE), timeout=5, **kwargs)


def raw(server: Server, path: str, host: str = "here.test", until: float = 5.0) -> bytes:
    """All bytes of the answer, up to its end, `until` seconds, or a MiB."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=until) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        deadline = time.monotonic() + until
        try:
            while (data := connection.recv(1 << 16)) and len(received) < 1 << 20 and time.monotonic() < deadline:
                received += data
        except TimeoutError:
            pass
    return received


def test_every_fault_has_a_behaviour_and_an_outcome_that_exists() -> None:
    assert {kind.partition("=")[0] for kind in FAULTS} <= set(BEHAVIOURS) | {"same"}
    assert {fault.outcome for fault in FAULTS.values()} <= set(outcomes.BY_NAME)
    assert {host.outcome for host in HOSTS.values()} <= set(outcomes.BY_NAME)
    assert {kind for kind, fault in FAULTS.items() if fault.leaves} == {"to_metadata", "to_private", "to_mapped"}


@pytest.mark.parametrize("kind", [kind for kind in OK if kind != "interim"])  # http.client knows no 103
def test_a_patient_client_gets_the_picture_where_the_outcome_is_ok(server: Server, kind: str) -> None:
    for _ in range(3):
        session = requests.Session()
        session.max_redirects = 5
        session.trust_env = False
        answer = session.get(server.url + url_path(kind, PLACE), timeout=5, auth=NoAuth())
        session.close()
        if answer.status_code == 200:
            break
    assert answer.content == PNG


def test_who_sends_credentials_on_is_found_out(server: Server) -> None:
    location = get(server, "credentials", allow_redirects=False).headers["Location"]
    assert location.startswith("http://user:secret@127.0.0.1:")
    assert requests.get(location, timeout=5).status_code == 400


class NoAuth(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind.startswith("status=")])
def test_any_status_is_sent(server: Server, kind: str) -> None:
    answer = get(server, kind, allow_redirects=False)
    assert answer.status_code == int(kind.removeprefix("status="))


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("missing", [404] * 3),
        ("gone", [410] * 3),
        ("private", [403] * 3),
        ("refusing", [406] * 3),
        ("busy_once", [429, 200, 200]),
        ("busy", [429] * 3),
        ("busy=2", [429, 429, 200]),
        ("busy_date", [429, 200, 200]),
        ("busy_long", [429] * 3),
        ("failing_once", [500, 200, 200]),
        ("failing", [503] * 3),
        ("failing=1", [503, 200, 200]),
        ("pausing", [503, 200, 200]),
        ("no_such_kind", [404] * 3),
    ],
)
def test_refusals_last_as_long_as_they_say(server: Server, kind: str, statuses: list[int]) -> None:
    path = f"-/copy/{kind}/{url_path(kind, PLACE)}"  # a URL that no other test has asked for
    assert [requests.get(server.url + path, timeout=5).status_code for _ in range(3)] == statuses


def test_retry_after_is_seconds_or_a_date(server: Server) -> None:
    def told(kind: str) -> str | None:
        return requests.get(f"{server.url}-/copy/x/{url_path(kind, PLACE)}", timeout=5).headers.get("Retry-After")

    assert (told("busy"), told("busy_long"), told("pausing"), told("busy_untold")) == ("1", "3600", "1", None)
    assert 0 < parsedate_to_datetime(told("busy_date") or "").timestamp() - time.time() <= 2


@pytest.mark.parametrize(
    ("kind", "hops"), [("moved", 2), ("hops=5", 5), ("redirect=308", 1), ("flickr", 1), ("moved_unavailable", 2)]
)
def test_redirects_have_their_number_of_hops(server: Server, kind: str, hops: int) -> None:
    assert len(get(server, kind).history) == hops


@pytest.mark.parametrize("kind", ["circular", "ping", "hops=6"])
def test_loops_and_long_chains_are_too_many_redirects(server: Server, kind: str) -> None:
    with requests.Session() as session, pytest.raises(requests.TooManyRedirects):
        session.max_redirects = 5
        session.get(server.url + url_path(kind, PLACE), timeout=5)


@pytest.mark.parametrize(
    ("kind", "location"),
    [
        ("to_metadata", "http://169.254.169.254/latest/meta-data/"),
        ("to_private", "http://10.0.0.1/"),
        ("to_mapped", "http://[::ffff:10.0.0.1]/"),
        ("to_file", "file:///etc/passwd"),
        ("to_ftp", "ftp://127.0.0.1/picture.jpg"),
        ("broken_location", "http://[::nowhere/"),
        ("no_location", None),
        ("relative", "../../../.././d/a%20b.png"),
    ],
)
def test_where_redirects_lead(server: Server, kind: str, location: str | None) -> None:
    head = split(raw(server, f"/{url_path(kind, PLACE)}"))[0].decode()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    assert fields.get("Location") == location


@pytest.mark.parametrize("kind", ["unavailable", "flickr", "same"])
def test_photos_that_are_gone_are_one_picture(server: Server, kind: str) -> None:
    assert get(server, kind).content == b"gone"


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def test_lengths_lie(server: Server) -> None:
    def length_and_body(kind: str, until: float = 5.0) -> tuple[int, int]:
        head, body = split(raw(server, f"/{url_path(kind, PLACE)}", until=until))
        return int(head.partition(b"Content-Length: ")[2].split()[0]), len(body)

    size = len(PNG)
    assert length_and_body("cut") == length_and_body("stalled", until=0.2) == (size, size // 2)
    assert length_and_body("shorter") == (size // 2, size)
    assert length_and_body("negative") == (-1, size)
    assert length_and_body("huge")[0] == 10**12


@pytest.mark.parametrize(
    ("kind", "end"),
    [("chunked", b"\r\n0\r\n\r\n"), ("chunked_cut", PNG[-9:] + b"\r\n"), ("chunked_bad", b"zz\r\nmany\r\n")],
)
def test_chunks_end_well_or_badly(server: Server, kind: str, end: bytes) -> None:
    head, body = split(raw(server, f"/{url_path(kind, PLACE)}"))
    assert b"Transfer-Encoding: chunked" in head
    assert body.startswith(b"6ad\r\n\x89PNG")
    assert body.endswith(end)


@pytest.mark.parametrize("kind", ["endless", "chunked_endless", "huge", "endless_head"])
def test_endless_answers_leave_the_others_their_turn(server: Server, kind: str) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as greedy:
        greedy.sendall(f"GET /{url_path(kind, PLACE)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for _ in range(20):
            assert greedy.recv(1 << 20)
            assert get(server, "gzip").content == PNG
    assert get(server, "gzip").content == PNG  # also once the greedy one has gone


@pytest.mark.parametrize(("kind", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_encodings_unpack_to_the_picture(server: Server, kind: str, unpack: Callable[[bytes], bytes]) -> None:
    head, body = split(raw(server, f"/{url_path(kind, PLACE)}"))
    assert f"Content-Encoding: {kind}".encode() in head
    assert unpack(body) == PNG


def test_bad_encodings_do_not_unpack(server: Server) -> None:
    with pytest.raises(requests.exceptions.ContentDecodingError):
        get(server, "gzip_bad")
    head, body = split(raw(server, f"/{url_path('gzip_cut', PLACE)}"))
    assert f"Content-Length: {len(body)}".encode() in head
    with pytest.raises(EOFError):
        gzip.decompress(body)
    assert get(server, "encoded").headers["Content-Encoding"] == "squeezed"


def test_the_bomb_is_small_and_sound_and_unpacks_to_a_lot(server: Server) -> None:
    body = split(raw(server, f"/{url_path('gzip_bomb', PLACE)}"))[1]
    assert len(body) < 300_000
    unpacker = zlib.decompressobj(31)  # 31: gzip, whose trailer is checked
    size = 0
    while not unpacker.eof:
        size += len(unpacker.decompress(body, 1 << 24))
        body = unpacker.unconsumed_tail
    assert size == 256 << 20


@pytest.mark.parametrize(
    ("kind", "content_type", "start"),
    [
        ("octets", "application/octet-stream", PNG[:4]),
        ("untyped", None, PNG[:4]),
        ("called_html", "text/html; charset=utf-8", PNG[:4]),
        ("html", "text/html; charset=utf-8", b"<!DO"),
        ("page", "image/jpeg", b"<!DO"),
        ("svg", "image/svg+xml", b"<svg"),
        ("pixel", "image/gif", b"GIF8"),
        ("empty", "image/jpeg", b""),
    ],
)
def test_types_are_true_or_not(server: Server, kind: str, content_type: str | None, start: bytes) -> None:
    answer = get(server, kind)
    assert answer.headers.get("Content-Type") == content_type
    assert answer.content[:4] == start


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("noai", "X-Robots-Tag", "noai"),
        ("noimageai", "X-Robots-Tag", "noimageai"),
        ("noindex", "X-Robots-Tag", "noindex"),
        ("noai_among", "X-Robots-Tag", "max-snippet: 20, NoAI"),
        ("noai_twice", "X-Robots-Tag", "nofollow, noai"),
        ("noai_us", "X-Robots-Tag", "ml-images: noai"),
        ("noai_others", "X-Robots-Tag", "otherbot: noai"),
        ("tdm", "tdm-reservation", "1"),
        ("tdm_free", "tdm-reservation", "0"),
    ],
)
def test_opt_outs_are_fields_of_the_answer(server: Server, kind: str, name: str, value: str) -> None:
    assert get(server, kind).headers[name] == value


@pytest.mark.parametrize("kind", ["hanging_up", "reset", "reset_body"])
def test_broken_connections_are_errors(server: Server, kind: str) -> None:
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(server, kind)


def test_a_reset_is_a_reset_and_a_closing_is_none(server: Server) -> None:
    with pytest.raises(ConnectionResetError):
        raw(server, f"/{url_path('reset', PLACE)}")
    assert raw(server, f"/{url_path('hanging_up', PLACE)}") == b""
    assert raw(server, f"/{url_path('cut_head', PLACE)}").endswith(b"Content-Type: ima")
    assert raw(server, f"/{url_path('ancient', PLACE)}") == PNG
    assert raw(server, f"/{url_path('babble', PLACE)}").startswith(b"HTTP/1.1 fine thanks\r\n")
    assert split(raw(server, f"/{url_path('old', PLACE)}"))[0].startswith(b"HTTP/1.0 200 OK\r\nContent-Type")


def test_drips_drip_and_the_silent_say_nothing(server: Server) -> None:
    def said(kind: str) -> bytes:
        return raw(server, f"/{url_path(kind, PLACE)}", until=0.7)

    assert split(said("dripping"))[1].startswith(b"\xff\xd8\xff\xe0")
    assert len(split(said("dripping"))[1]) <= 12
    assert 1 <= said("dripping_head").count(b"X-Drop") <= 3
    assert said("silent") == b""
    assert split(said("mute"))[1] == b""


def test_slow_answers_take_their_time(server: Server) -> None:
    for kind in ("slow=150", "trickle=150"):
        started = time.monotonic()
        assert get(server, kind).content == PNG
        assert time.monotonic() - started >= 0.14


@pytest.mark.parametrize(("kind", "answers"), [("closing=1", 1), ("closing=3", 3), ("stale", 1)])
def test_connections_close_after_so_many_answers(server: Server, kind: str, answers: int) -> None:
    request = f"GET /{url_path(kind, PLACE)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    received = 0
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        for _ in range(answers):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(PNG[-9:]):
                answer += connection.recv(1 << 16)
            assert b"Connection" not in split(answer)[0]
            received += 1
        if kind == "stale":
            connection.sendall(request)
        assert connection.recv(1) == b""


def test_interim_and_long_heads(server: Server) -> None:
    answer = raw(server, f"/{url_path('interim', PLACE)}")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n")
    assert len(get(server, "long_head").headers["X-Long"]) == 16_000
    assert len(split(raw(server, f"/{url_path('huge_head', PLACE)}"))[0]) > 1 << 19


@pytest.mark.parametrize("kind", HOSTS)
def test_hosts_are_chosen_by_the_first_label_of_their_name(server: Server, kind: str) -> None:
    robots = raw(server, "/robots.txt", host=f"{kind}.test:80", until=0.5 if kind == "robots-silent" else 5)
    if kind == "robots-silent":
        assert robots == b""
        return
    status = {"robots-missing": 404, "robots-forbidden": 403, "robots-failing": 500, "robots-moved": 301}.get(kind, 200)
    assert int(robots.split()[1]) == status
    assert raw(server, "/robots.txt").split()[1] == b"404"  # other hosts have the folder's file
    if kind == "robots-moved":
        assert b"Disallow: /" in raw(server, "/-/robots-disallow.txt")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /a HTTP/1.1\r\n\r\n", b"501"),
        (b"GET nonsense HTTP/1.1\r\n\r\n", b"400"),
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000, b"431"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: Server, request_: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        connection.sendall(request_)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    assert answer.split()[1] == status


def test_counts_are_json(server: Server) -> None:
    get(server, "gzip")
    counts = json.loads(requests.get(server.url + "-/requests", timeout=5).content)
    assert counts[f"/{url_path('gzip', PLACE)}"] >= 1


class Bottomless(asyncio.Transport):
    """Takes everything at once, as a very fast reader does."""

    writes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        assert self.writes < 1000, "the event loop never gets its turn back"

    def is_closing(self) -> bool:
        return False


def test_an_endless_answer_to_a_very_fast_reader_gives_the_loop_back(tmp_path: Path) -> None:
    async def ask() -> int:
        connection, transport = Connection(Service(Files(tmp_path), "http")), Bottomless()
        connection.connection_made(transport)
        connection.data_received(b"GET /-/fault/endless/a.jpg HTTP/1.1\r\nHost: a\r\n\r\n")
        first = transport.writes
        await asyncio.sleep(0)
        connection.connection_lost(None)
        assert transport.writes > first  # it goes on in the next turn
        return first

    assert asyncio.run(ask()) < 50
