"""Address rule, pinning and TLS on real connections: a resolver and a dialler stand in for the internet."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_images.download import connection
from ml_images.download.config import FetchConfig
from ml_images.download.connection import BoundedSocket, BoundedTlsSocket, Network
from ml_images.download.fetch import Answer, fetch_once
from ml_images.download.session import open_session

CFG = FetchConfig(read_timeout_s=0.5, connect_timeout_s=0.5)
PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.7"


class Internet:
    """Names with lists of answers, one a question (the last one stays); every public address is the test's server."""

    def __init__(self, port: int, **names: list[list[str]]) -> None:
        self.port = port
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []
        self.dialled: list[str] = []

    def resolve(self, host: str, port: int, family: int, kind: int) -> list:
        self.asked.append(host)
        answers = self.names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in addresses]

    def dial(self, family: int, where: tuple, timeout_s: float) -> BoundedSocket:
        self.dialled.append(where[0])
        if where[0] != PUBLIC:
            raise ConnectionRefusedError
        return connection.dial(family, ("127.0.0.1", self.port), timeout_s)

    def get(self, *urls: str, tls: Callable[[], ssl.SSLContext] = connection.public_tls) -> list[Answer]:
        with open_session(CFG, Network(self.resolve, self.dial, tls)) as session:
            return [fetch_once(url, session, CFG, time.monotonic() + 5) for url in urls]


def test_loopback_is_refused_unless_asked_for(server) -> None:
    url = server.on("/x", lambda h: h.reply(200, b"x"))
    for allow_private, outcome in ((False, "address_refused"), (True, "ok")):
        cfg = FetchConfig(allow_private=allow_private)
        with open_session(cfg) as session:
            assert fetch_once(url, session, cfg, time.monotonic() + 5).outcome == outcome
    assert server.seen["/x"] == 1


def test_a_redirect_from_a_public_to_a_private_host_is_refused(server) -> None:
    internet = Internet(server.server_port, photos_test=[[PUBLIC]], inner_test=[[PRIVATE]])
    server.on("/x", lambda h: h.reply(302, Location="http://inner.test/secret"))
    [answer] = internet.get("http://photos.test/x")
    assert (answer.outcome, answer.final_url) == ("address_refused", "http://inner.test/secret")
    assert internet.dialled == [PUBLIC]


def test_a_name_is_asked_for_once_a_connection_and_the_checked_address_is_dialled(server) -> None:
    internet = Internet(server.server_port, photos_test=[[PUBLIC], [PRIVATE]])  # rebinding: the second answer differs
    server.on("/x", lambda h: h.reply(200, b"x"))
    first, second = internet.get("http://photos.test/x", "http://photos.test/x")
    assert first.outcome == second.outcome == "ok"  # the kept connection leads where the check was made
    assert internet.asked == ["photos.test"] and internet.dialled == [PUBLIC]
    assert server.headers_seen[0]["Host"] == "photos.test"


def test_a_name_that_changes_its_mind_is_checked_again_for_a_new_connection(server) -> None:
    internet = Internet(server.server_port, photos_test=[[PUBLIC], [PRIVATE]])
    server.on("/x", lambda h: h.reply(200, b"x", Connection="close"))
    first, second = internet.get("http://photos.test/x", "http://photos.test/x")
    assert (first.outcome, second.outcome) == ("ok", "address_refused")
    assert internet.dialled == [PUBLIC]


def test_the_next_address_is_tried_where_one_does_not_answer(server) -> None:
    internet = Internet(server.server_port, photos_test=[["8.8.8.8", PUBLIC]])
    server.on("/x", lambda h: h.reply(200, b"x"))
    assert internet.get("http://photos.test/x")[0].outcome == "ok"
    assert internet.dialled == ["8.8.8.8", PUBLIC]


def test_a_connection_that_never_comes_about_is_a_timeout() -> None:
    def dial(family: int, where: tuple, timeout_s: float) -> BoundedSocket:
        assert 0 < timeout_s <= CFG.connect_timeout_s
        raise TimeoutError

    internet = Internet(0, photos_test=[[PUBLIC]])
    with open_session(CFG, Network(internet.resolve, dial)) as session:
        assert fetch_once("http://photos.test/", session, CFG, time.monotonic() + 5).outcome == "timeout"


# For photos.test, signed by itself, until 2125; of no worth outside this file.
TLS_KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaLT961NgYGK/WRPv
lTm8z389jsfrWNN/OAhYl8YViryhRANCAASzKbYuD2gvcpbUgVJAqp1bFnHNVbJM
l98M7aCZTsrhYmfQBlQyfTLxiXG/4y/N9H242gW2LavklCNTNx3GGlH0
-----END PRIVATE KEY-----
"""
TLS_CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUVNJnRxNsaw/VSQWTgKnOvjUaZD0wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLcGhvdG9zLnRlc3QwIBcNMjYxMTIyMDE1MzU1WhgPMjEyNjEw
MjkwMTUzNTVaMBYxFDASBgNVBAMMC3Bob3Rvcy50ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAEsym2Lg9oL3KW1IFSQKqdWxZxzVWyTJffDO2gmU7K4WJn0AZU
Mn0y8Ylxv+MvzfR9uNoFti2r5JQjUzcdxhpR9KNrMGkwHQYDVR0OBBYEFP29sAbB
uMyoR3g4Pe6pEFRCIszNMB8GA1UdIwQYMBaAFP29sAbBuMyoR3g4Pe6pEFRCIszN
MA8GA1UdEwEB/wQFMAMBAf8wFgYDVR0RBA8wDYILcGhvdG9zLnRlc3QwCgYIKoZI
zj0EAwIDSAAwRQIhAOnStNisIc/bKDOZa6zlcCbM8DOrUYczSijgfJujKCT/AiAa
GrlECesUJ9YQOYEa9RpA0EnavWofeRg2rz1P537aeA==
-----END CERTIFICATE-----
"""


@pytest.fixture
def tls_server(server, tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_text(TLS_KEY)
    certificate.write_text(TLS_CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.names: list[str | None] = []
    context.sni_callback = lambda sock, name, _: server.names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def own_authority() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=TLS_CERTIFICATE)
    context.sslsocket_class = BoundedTlsSocket
    return context


def test_tls_is_spoken_to_the_name_and_kept(tls_server) -> None:
    internet = Internet(tls_server.server_port, photos_test=[[PUBLIC]])
    tls_server.on("/x", lambda h: h.reply(200, b"x" * 100_000))
    answers = internet.get("https://photos.test/x", "https://photos.test/x", tls=own_authority)
    assert [len(answer.body or b"") for answer in answers] == [100_000, 100_000]
    assert tls_server.names == ["photos.test"]
    assert tls_server.num_connections == 1


def test_a_certificate_for_another_name_is_refused(tls_server) -> None:
    internet = Internet(tls_server.server_port, other_test=[[PUBLIC]])
    assert internet.get("https://other.test/x", tls=own_authority)[0].outcome == "tls_error"


def test_a_certificate_of_an_unknown_authority_is_refused(tls_server) -> None:
    internet = Internet(tls_server.server_port, photos_test=[[PUBLIC]])
    assert internet.get("https://photos.test/x")[0].outcome == "tls_error"


def test_a_drip_over_tls_ends_at_the_deadline(tls_server) -> None:
    internet = Internet(tls_server.server_port, photos_test=[[PUBLIC]])
    tls_server.on("/x", lambda h: h.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + bytes(500)))
    with open_session(CFG, Network(internet.resolve, internet.dial, own_authority)) as session:
        start = time.monotonic()
        answer = fetch_once("https://photos.test/x", session, CFG, start + 0.6)
        assert answer.outcome == "timeout"
        assert time.monotonic() - start < 0.85


def test_one_tls_context_serves_the_process() -> None:
    assert connection.public_tls() is connection.public_tls()
    assert connection.public_tls().verify_mode == ssl.CERT_REQUIRED and connection.public_tls().check_hostname
