import os
import socket
from collections.abc import Iterator

import pytest

from ml_images.download import kept
from ml_images.download.kept import Connections, Name, is_quiet, local_name

HOST, PLAIN, TLS = "a.test", "http://a.test", "https://a.test"


def test_a_connection_is_quiet_until_something_or_the_end_comes() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as ours,
        listening.accept()[0] as theirs,
    ):
        assert local_name(ours.fileno()) == ours.getsockname()
        assert is_quiet(ours.fileno()) and is_quiet(theirs.fileno())
        theirs.sendall(b"x")
        assert not is_quiet(ours.fileno())
        ours.recv(1)
        assert is_quiet(ours.fileno())
        theirs.close()
        assert not is_quiet(ours.fileno())


class Sockets:
    """Connections to a server, made as libcurl makes them, and what the server sees of each."""

    def __init__(self, known: Connections) -> None:
        self.known = known
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.ours: list[socket.socket] = []
        self.theirs: list[socket.socket] = []

    def connect(self, own_port: int = 0) -> Name:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", own_port))
        peer = self.listening.getsockname()
        self.known.new(os.fstat(sock.fileno()).st_ino, *peer)
        sock.connect(peer)
        for _ in range(2):  # libcurl tells more than once that it waits to write
            self.known.opened(sock.fileno())
        self.ours.append(sock)
        self.theirs.append(self.listening.accept()[0])
        return (*sock.getsockname(), *peer)

    def used(self, user: int, origin: str = PLAIN, host: str = HOST) -> Name:
        """One that carried a request of this number and is idle now."""
        name = self.connect()
        assert self.known.take(host, name, user) == self.ours[-1].fileno()
        self.known.rest(host, origin, name, user)
        return name

    def seen_open(self) -> list[bool]:
        return [is_quiet(sock.fileno()) for sock in self.theirs]

    def close(self) -> None:
        for sock in [*self.ours, *self.theirs, self.listening]:
            sock.close()


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets(Connections())
    yield made
    made.close()


def test_idle_connections_are_counted_by_host_until_they_are_used_again(sockets: Sockets) -> None:
    known, first = sockets.known, sockets.used(1)
    sockets.used(2)
    sockets.used(3, host="b.test")
    assert [known.num_idle(host) for host in (HOST, "b.test", "c.test")] == [2, 1, 0]
    assert known.take(HOST, first, 4) == sockets.ours[0].fileno()
    assert known.num_idle(HOST) == 1


def test_surplus_connections_end_for_the_host_at_once_the_longest_idle_first(sockets: Sockets) -> None:
    for number in range(4):
        sockets.used(number)
    sockets.known.close_idle(HOST, 4)
    assert sockets.seen_open() == [True] * 4
    sockets.known.close_idle(HOST, 1)
    assert sockets.seen_open() == [False, False, False, True] and sockets.known.num_idle(HOST) == 1
    sockets.known.close_idle(HOST, 0)
    sockets.known.close_idle("b.test", 0)
    assert sockets.seen_open() == [False] * 4 and sockets.known.num_idle(HOST) == 0


def test_what_libcurl_closed_is_not_counted_nor_touched_though_its_descriptor_lives_on(sockets: Sockets) -> None:
    for number in range(3):
        sockets.used(number)
    file = sockets.ours[0].detach()
    other = socket.socketpair()
    os.dup2(other[0].fileno(), file)  # somebody else's by now
    sockets.ours[1].close()
    assert sockets.known.num_idle(HOST) == 1
    sockets.known.close_idle(HOST, 0)
    assert is_quiet(other[1].fileno())
    os.close(file), other[0].close(), other[1].close()


def test_one_that_was_closed_with_its_answer_is_not_idle(sockets: Sockets) -> None:
    name = sockets.connect()
    sockets.known.take(HOST, name, 1)
    sockets.ours[0].close()
    sockets.known.rest(HOST, PLAIN, name, 1)
    assert sockets.known.num_idle(HOST) == 0 and sockets.known.take(HOST, name, 2) is None


def test_one_that_has_been_given_to_the_next_request_already_is_not_idle(sockets: Sockets) -> None:
    name = sockets.connect()
    sockets.known.take(HOST, name, 1)
    sockets.known.take(HOST, name, 2)
    sockets.known.rest(HOST, PLAIN, name, 1)
    assert sockets.known.num_idle(HOST) == 0
    sockets.known.rest(HOST, PLAIN, name, 2)
    assert sockets.known.num_idle(HOST) == 1


def test_way_is_made_only_where_no_idle_one_leads_to_the_origin(sockets: Sockets) -> None:
    known = sockets.known
    known.make_way(HOST, TLS)
    sockets.used(1)
    assert known.lead_elsewhere(HOST, TLS) and not known.lead_elsewhere(HOST, PLAIN)
    known.make_way(HOST, PLAIN)
    assert sockets.seen_open() == [True]
    known.make_way(HOST, TLS)
    assert sockets.seen_open() == [False] and known.num_idle(HOST) == 0


def test_connections_to_two_hosts_may_share_their_own_port(sockets: Sockets) -> None:
    others = Sockets(sockets.known)
    first = sockets.connect()
    second = others.connect(own_port=first[1])
    assert first[:2] == second[:2]
    assert sockets.known.take(HOST, first, 1) == sockets.ours[0].fileno()
    assert sockets.known.take("b.test", second, 2) == others.ours[0].fileno()
    others.close()


def test_those_that_ended_are_forgotten(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_FEW", 8)
    known = sockets.known = Connections()
    for number in range(40):
        known.new(number, "127.0.0.1", 80)  # never heard of again
        sockets.connect()
        sockets.ours[-1].close()
    assert len(known._open) <= 10 and len(known._new) <= 8
