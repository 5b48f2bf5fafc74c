import http.client
import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import requests
import trustme

from ml_images.sample.faults import url_path
from ml_images.sample.request_log import Log
from ml_images.sample.server import serve

TIMEOUT_S = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "holiday 2019").mkdir()
    (tmp_path / "holiday 2019" / "été.jpg").write_bytes(b"\xff\xd8\xff" + bytes(2000))
    (tmp_path / "a.png").write_bytes(b"png bytes")
    (tmp_path / "photo_unavailable.png").write_bytes(b"gone")
    return tmp_path


def get(url: str, **kwargs: Any) -> requests.Response:
    return requests.get(url, timeout=TIMEOUT_S, **kwargs)


def test_files_are_served_with_type_and_length_by_their_quoted_path(folder: Path) -> None:
    with serve(folder) as server:
        answer = get(server.url + quote("holiday 2019/été.jpg") + "?size=large")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert answer.content == (folder / "holiday 2019" / "été.jpg").read_bytes()
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert get(server.url + "a.png").headers["Content-Type"] == "image/png"
        assert get(server.url + "b.png").status_code == 404


@pytest.mark.parametrize(
    "path", ["../secret.txt", "%2e%2e/secret.txt", "x/../../secret.txt", "link.txt", "%00", "%2F..%2fsecret.txt"]
)
def test_nothing_outside_the_folder_is_served(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with serve(tmp_path / "served") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT_S)
        connection.request("GET", f"/{path}")  # as it stands: requests would tidy the dots away
        answer = connection.getresponse()
        assert (answer.status, b"secret" in answer.read()) == (404, False)
        connection.close()


def test_it_answers_at_the_given_loopback_addresses_only(folder: Path) -> None:
    with serve(folder) as server:
        assert server.url == f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", server.server_port), timeout=1):
            pass
    with serve(folder, addresses=("127.0.0.1", "127.0.0.3")) as server:
        assert get(server.url.replace("127.0.0.1", "127.0.0.3") + "a.png").content == b"png bytes"
    with pytest.raises(AssertionError), serve(folder, addresses=("0.0.0.0",)):
        pass


def test_with_a_certificate_it_speaks_tls_and_proves_who_it_is(folder: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    with serve(folder, certificate=tmp_path / "server.pem") as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert get(server.url + "a.png", verify=str(tmp_path / "ca.pem")).content == b"png bytes"
        moved = get(server.url + url_path("flickr", "a.png"), verify=str(tmp_path / "ca.pem"))
        assert moved.url.startswith("https://")
        with pytest.raises(requests.exceptions.SSLError):
            get(server.url + "a.png")
    with pytest.raises(ssl.SSLError), serve(folder, certificate=folder / "a.png"):
        pass


def test_connections_stay_open_between_requests(folder: Path) -> None:
    with serve(folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT_S)
        connection.request("GET", "/a.png")
        connection.getresponse().read()
        local = connection.sock.getsockname()
        connection.request("GET", "/no-such-file")
        connection.getresponse().read()
        assert connection.sock.getsockname() == local
        connection.close()


def test_requests_are_counted_by_path_and_told_as_json(folder: Path) -> None:
    with serve(folder) as server:
        threads = [threading.Thread(target=get, args=(server.url + "a.png",)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        get(server.url + "nothing")
        assert server.requests() == {"/a.png": 12, "/nothing": 1}
        assert get(server.url + "-/requests").json() == server.requests()


def test_a_folder_is_a_page_of_links_for_a_person(folder: Path) -> None:
    (folder / "<b>.png").write_bytes(b"x")
    with serve(folder) as server:
        page = get(server.url).text
        assert 'href="/a.png"' in page
        assert 'href="/holiday%202019"' in page
        assert "<b>" not in page
        assert 'src="/holiday%202019/%C3%A9t%C3%A9.jpg"' in get(server.url + "holiday%202019").text


def test_a_busy_server_says_when_to_come_back_and_only_then(folder: Path) -> None:
    with serve(folder) as server:
        assert get(server.url + url_path("busy", "a.png")).headers["Retry-After"] == "1"
        assert "Retry-After" not in get(server.url + url_path("failing", "a.png")).headers


def test_a_copy_is_one_more_url_of_the_same_answer(folder: Path) -> None:
    with serve(folder) as server:
        assert get(server.url + "-/copy/1/a.png").content == get(server.url + "-/copy/2/a.png").content == b"png bytes"
        moved = get(server.url + "-/copy/3/" + url_path("hops=2", "a.png"))
        assert moved.url == server.url + "-/copy/3/a.png"  # also behind redirects
        assert set(server.requests().values()) == {1}


def test_the_log_is_readable_over_http_and_knows_hosts(folder: Path) -> None:
    with serve(folder, addresses=("127.0.0.1", "127.0.0.2")) as server:
        for address, count in (("127.0.0.1", 2), ("127.0.0.2", 1)):
            for _ in range(count):
                get(f"http://{address}:{server.server_port}/a.png")
        log = Log.from_json(get(server.url + "-/log").content)
        first, second = (f"{address}:{server.server_port}" for address in server.addresses)
        assert log.counts() == {(first, "/a.png"): 2, (second, "/a.png"): 1} == server.log().counts()
        assert log.most_connections(first) == log.most_under_way(second) == 1
        assert np.isfinite(log.done).all()
        assert (log.done >= log.asked).all()


def test_stopping_ends_endless_answers_and_idle_connections_at_once(folder: Path) -> None:
    with serve(folder) as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=TIMEOUT_S)
        idle.request("GET", "/a.png")
        idle.getresponse().read()
        dripping = get(server.url + url_path("dripping", "a.png"), stream=True)
        endless = get(server.url + url_path("endless", "a.png"), stream=True)
        url = server.url
        started = time.monotonic()
    assert time.monotonic() - started < 0.4
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(requests.RequestException):
        _ = dripping.content
    endless.close()
    with pytest.raises(requests.ConnectionError):
        get(url)


def test_a_port_in_use_is_refused(folder: Path) -> None:
    with serve(folder) as server, pytest.raises(OSError, match="in use"), serve(folder, server.server_port):
        pass


def test_every_key_of_a_world_gets_what_the_world_expects(world: Any) -> None:
    seen = {}
    session = requests.Session()
    session.max_redirects = 5
    for key, value in world.expected["keys"].items():
        if value["kind"] in ("dripping", "silent", "disallowed"):
            continue
        url = key if "://" in key else world.expected["base_url"] + quote(key)
        seen[key] = crude_outcome(session, url, value)
    assert seen == {key: world.expected["keys"][key]["outcome"] for key in seen}
    counts = json.loads(session.get(world.server.url + "-/requests", timeout=TIMEOUT_S).content)
    session.close()
    good = [n for path, n in counts.items() if not path.startswith("/-/") and path != "/photo_unavailable.png"]
    assert set(good) == {1}


def crude_outcome(session: requests.Session, url: str, value: dict[str, Any]) -> str:
    """What a downloader that tries twice would say, without the decoding."""
    try:
        answer = session.get(url, timeout=TIMEOUT_S)
        if answer.status_code in (429, 500, 503):
            answer = session.get(url, timeout=TIMEOUT_S)
    except requests.TooManyRedirects:
        return "redirect_error"
    except requests.exceptions.ChunkedEncodingError:
        return "truncated"
    except requests.ConnectionError:
        return "connect_error"
    if answer.status_code != 200:
        names = {404: "not_found", 410: "not_found", 403: "forbidden", 429: "rate_limited", 503: "server_error"}
        return names.get(answer.status_code, "http_error")
    if "noai" in answer.headers.get("X-Robots-Tag", ""):
        return "opted_out"
    if answer.url.endswith("photo_unavailable.png"):
        return "placeholder"
    if not answer.content or b"<html" in answer.content:
        return "not_an_image" if answer.content else "empty"
    return str(value["outcome"])
