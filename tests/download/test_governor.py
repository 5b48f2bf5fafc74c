"""The governor over real sockets: workers that come, go and lie."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from simulated_web import busiest_second

from ml_images.download.config import PolitenessConfig
from ml_images.download.governed import GovernedGate, GovernorLost
from ml_images.download.governor import Governor
from ml_images.download.progress import Progress

HOST = "a.example"


@pytest.fixture
def governor() -> Iterator[Governor]:
    with Governor(PolitenessConfig(requests_per_s=200, connections=4, breaker_failures=3)) as running:
        yield running


def gate(governor: Governor, progress: Progress | None = None) -> GovernedGate:
    return GovernedGate(governor.address, governor.secret, progress or Progress())


def wait_for_permit(gate: GovernedGate, host: str = HOST, seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        if gate.ask(host, now) == 0.0:
            return True
        gate.tend(now)
        time.sleep(0.001)
    return False


def test_it_listens_on_this_machine_only_unless_told_otherwise(governor: Governor) -> None:
    assert governor.address[0] == "127.0.0.1"


def test_limits_hold_over_workers_and_nearly_all_is_used(governor: Governor) -> None:
    times: list[float] = []
    busy, most_busy = [0], [0]
    lock = threading.Lock()
    until = time.monotonic() + 2.0

    def work(number: int) -> None:
        with gate(governor) as mine:
            while (now := time.monotonic()) < until - 0.3 * number:  # they leave one after the other
                if mine.ask(HOST, now) == 0.0:
                    with lock:
                        times.append(now)
                        busy[0] += 1
                        most_busy[0] = max(most_busy[0], busy[0])
                    time.sleep(0.002)
                    with lock:
                        busy[0] -= 1
                    mine.done(HOST, time.monotonic(), "ok", None)
                mine.tend(now)
                time.sleep(0.001)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most_busy[0] <= 4
    assert busiest_second(sorted(times)) <= 210
    assert len(times) > 100  # of 400, on a machine that may be busy


def test_permits_of_a_worker_that_dies_come_back(governor: Governor) -> None:
    with gate(governor) as patient:
        dying = gate(governor)
        assert all(wait_for_permit(dying) for _ in range(4))
        assert not wait_for_permit(patient, seconds=0.3)
        dying._connection.close()  # what the kernel does for a killed process
        assert wait_for_permit(patient)


def test_a_machine_that_is_gone_without_a_word_is_noticed(governor: Governor) -> None:
    with gate(governor):
        [client] = governor._clients.values()
        connection = client.connection
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, between, times = (
            connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{name}"))
            for name in ("IDLE", "INTVL", "CNT")
        )
        assert idle + between * times <= 30
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000


def test_what_one_worker_learns_about_a_host_all_heed(governor: Governor) -> None:
    with gate(governor) as one, gate(governor) as other:
        assert wait_for_permit(one)
        one.done(HOST, time.monotonic(), "rate_limited", 30.0)
        one.tend(time.monotonic() + 1.0)
        time.sleep(0.1)
        assert not wait_for_permit(other, seconds=0.2)
        assert 20.0 < other.ask(HOST, time.monotonic()) <= 30.0
        assert wait_for_permit(other, "b.example")
        one.slow_down("slow.example", 10.0)
        one.tend(time.monotonic() + 1.0)
        assert wait_for_permit(one, "slow.example")
        assert not wait_for_permit(other, "slow.example", seconds=0.3)


def test_progress_of_all_workers_adds_up_also_of_those_that_have_gone(governor: Governor) -> None:
    with gate(governor, Progress(done=2)), gate(governor, Progress(done=5, ok=4)):
        pass
    for _ in range(200):
        if governor.progress().get("done") == 7:
            break
        time.sleep(0.01)
    assert governor.progress()["done"] == 7 and governor.progress()["ok"] == 4


def test_without_the_secret_there_is_nothing(governor: Governor) -> None:
    with pytest.raises(GovernorLost, match="right secret"):
        GovernedGate(governor.address, "guessed", Progress())


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_a_refusal_is_one_also_where_it_comes_as_a_reset(pause_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            connection.sendall(b'{"nonce": "x"}\n')
            time.sleep(pause_s)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with pytest.raises(GovernorLost, match="right secret"):
            GovernedGate(listening.getsockname(), "guessed", Progress())
        refusing.join()


@pytest.mark.parametrize("greeting", [b"\n", b"{}\n", b"x" * 5000, b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n"])
def test_strangers_are_shown_out_and_disturb_nobody(governor: Governor, greeting: bytes) -> None:
    with socket.create_connection(governor.address) as stranger:
        stranger.settimeout(5.0)
        stranger.sendall(greeting)
        received = b""
        try:
            while data := stranger.recv(1000):
                received += data
        except ConnectionResetError:
            pass
    assert set(json.loads(received)) == {"nonce"} if received else True
    with gate(governor) as mine:
        assert wait_for_permit(mine)


def test_a_governor_that_goes_away_is_missed() -> None:
    with Governor(PolitenessConfig()) as running:
        mine = gate(running)
    with pytest.raises(GovernorLost):
        wait_for_permit(mine)
    with pytest.raises(GovernorLost, match="no governor at 127"):
        gate(running)
    mine._connection.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_governor_that_breaks_lets_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(self: Governor) -> None:
        raise ZeroDivisionError

    with Governor(PolitenessConfig()) as running:
        mine = gate(running)
        monkeypatch.setattr(Governor, "_accept", accept)
        started = time.monotonic()
        with pytest.raises(GovernorLost):
            gate(running)
        with pytest.raises(GovernorLost, match="is gone"):
            wait_for_permit(mine)
        with pytest.raises(GovernorLost, match="no governor at 127"):
            gate(running)
        assert time.monotonic() - started < 2.0
        mine._connection.close()


def test_many_hosts_are_asked_for_in_few_messages() -> None:
    with Governor(PolitenessConfig()) as running, gate(running) as mine:
        hosts = [f"h{number}.example" for number in range(500)]
        started = time.process_time()
        waiting = set(hosts)
        while waiting:
            now = time.monotonic()
            waiting = {host for host in waiting if mine.ask(host, now) > 0}
            time.sleep(0.001)
        assert time.process_time() - started < 2.0
