"""Host limits and leases together: what a host sees, whatever its clients do and whenever messages arrive."""

import math
from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_web import busiest_second

from ml_images.download.config import PolitenessConfig
from ml_images.download.host_limits import CLOCK_ERROR_S, HostLimits, Lease
from ml_images.download.leases import Leases, Question, answer

HOST = "a.example"


class Clients:
    """Clients whose messages wait until somebody delivers them."""

    def __init__(self, cfg: PolitenessConfig, skews: list[float]) -> None:
        self.limits, self.skews = HostLimits(cfg), skews
        self.leases = [Leases() for _ in skews]
        self.numbers = list(range(len(skews)))
        self.next_number = len(skews)
        self.busy = [0] * len(skews)
        self.to_limits: list[list[Question] | None] = [None] * len(skews)
        self.to_client: list[list[tuple[str, Lease]] | None] = [None] * len(skews)
        self.starts: list[float] = []
        self.most_open = 0

    def ask(self, client: int, now: float, host: str = HOST) -> float:
        wait = self.leases[client].ask(host, now + self.skews[client])
        if wait == 0.0:
            self.starts.append(now)
            self.busy[client] += 1
            self.most_open = max(self.most_open, sum(self.busy))
        return wait

    def done(self, client: int, outcome: str = "ok", retry_after_s: float | None = None) -> None:
        if self.busy[client]:
            self.busy[client] -= 1
            self.leases[client].done(HOST, outcome, retry_after_s)

    def send(self, client: int, now: float) -> None:
        if self.to_limits[client] is None and self.to_client[client] is None:
            self.to_limits[client] = self.leases[client].questions(now + self.skews[client]) or None

    def arrive(self, client: int, now: float) -> None:
        questions, self.to_limits[client] = self.to_limits[client], None
        if questions is not None:
            self.to_client[client] = answer(self.limits, self.numbers[client], questions, now)

    def back(self, client: int, now: float) -> None:
        leases, self.to_client[client] = self.to_client[client], None
        if leases is not None:
            self.leases[client].answers(leases, now + self.skews[client])

    def talk(self, client: int, now: float) -> None:
        self.send(client, now)
        self.arrive(client, now)
        self.back(client, now)

    def die(self, client: int) -> None:
        """The process is gone, with its connections; another one takes its place."""
        self.limits.leave(self.numbers[client])
        self.numbers[client], self.next_number = self.next_number, self.next_number + 1
        self.leases[client], self.busy[client] = Leases(), 0
        self.to_limits[client] = self.to_client[client] = None


RATES = st.sampled_from([0.0, 0.3, 1.0, 2.0, 3.7, 10.0, 50.0, 200.0])


@given(
    rate=RATES,
    connections=st.integers(0, 5),
    skews=st.lists(st.floats(-CLOCK_ERROR_S, CLOCK_ERROR_S), min_size=1, max_size=4),
    breaker=st.sampled_from([0, 3]),
    hurry=st.sampled_from([0.0005, 0.005, 0.05]),
    seed=st.integers(0, 2**32),
)
def test_no_interleaving_of_clients_exceeds_a_limit(
    rate: float, connections: int, skews: list[float], breaker: int, hurry: float, seed: int
) -> None:
    cfg = PolitenessConfig(requests_per_s=rate, connections=connections, breaker_failures=breaker, breaker_pause_s=0.3)
    clients, rng, now = Clients(cfg, skews), Random(seed), 100.0
    for _ in range(1500):
        now += rng.expovariate(1 / hurry)
        client = rng.randrange(len(skews))
        match rng.choices(range(7), [40, 15, 15, 15, 15, 0.3, 0.5])[0]:
            case 0:
                while clients.ask(client, now) == 0.0 and rng.random() < 0.9:
                    pass
            case 1:
                clients.done(client, rng.choice(["ok", "ok", "not_found", "connect_error"]))
            case 2:
                clients.send(client, now)
            case 3:
                clients.arrive(client, now)
            case 4:
                clients.back(client, now)
            case 5:
                clients.die(client)
            case 6:
                now += rng.uniform(0, 2)
        if connections:
            assert sum(clients.busy) <= connections
    if rate:
        assert busiest_second(clients.starts) <= max(1, math.floor(1.05 * rate))
        if len(clients.starts) > 1:
            lasted = clients.starts[-1] - clients.starts[0]
            assert len(clients.starts) <= lasted * max(rate, 0.0) * 1.05 + 2 + 0.1 * rate


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0, 50.0, 400.0])
@pytest.mark.parametrize("num_clients", [1, 4])
def test_eager_clients_get_nearly_all_that_is_allowed(rate: float, num_clients: int) -> None:
    clients = Clients(PolitenessConfig(requests_per_s=rate, connections=0), [0.0] * num_clients)
    seconds = 10.0 if rate >= 10 else 40.0
    for step in range(int(seconds / 0.002)):
        for client in range(num_clients):
            while clients.ask(client, step * 0.002) == 0.0:
                clients.done(client)
            if step % 5 == client:
                clients.talk(client, step * 0.002)
    assert len(clients.starts) >= 0.93 * rate * seconds


def test_connections_are_shared_by_those_who_want_them() -> None:
    clients = Clients(PolitenessConfig(requests_per_s=0, connections=8), [0.0] * 4)
    starts: Counter[int] = Counter()
    for step in range(5000):
        now = step * 0.002
        for client in range(4):
            while clients.ask(client, now) == 0.0:
                starts[client] += 1
            if step % 50 == 0:
                for _ in range(clients.busy[client]):
                    clients.done(client)
            if step % 5 == client:
                clients.talk(client, now)
    assert clients.most_open == 8
    assert min(starts.values()) > 0.8 * max(starts.values())


def test_where_clients_are_more_than_connections_everybody_has_a_turn() -> None:
    clients = Clients(PolitenessConfig(requests_per_s=0, connections=2), [0.0] * 6)
    starts: Counter[int] = Counter()
    for step in range(30_000):
        now = step * 0.002
        for client in range(6):
            while clients.ask(client, now) == 0.0:
                starts[client] += 1
            if step % 25 == 0:
                for _ in range(clients.busy[client]):
                    clients.done(client)
            if step % 6 == client:
                clients.talk(client, now)
    assert len(starts) == 6 and clients.most_open == 2
    assert sum(starts.values()) > 0.7 * 2 * 60 / 0.05
    assert min(starts.values()) > 0.2 * max(starts.values())


def test_what_a_dead_or_idle_client_held_goes_to_others() -> None:
    clients = Clients(PolitenessConfig(requests_per_s=0, connections=3), [0.0, 0.0])
    now = 0.0
    for _ in range(20):
        clients.talk(0, now)
        while clients.ask(0, now) == 0.0:
            pass
        now += 0.01
    assert clients.busy == [3, 0]
    clients.ask(1, now)
    clients.talk(1, now)
    assert clients.ask(1, now) > 0
    clients.die(0)
    now += 0.2
    clients.ask(1, now)
    clients.talk(1, now)
    assert clients.ask(1, now) == 0.0
    clients.done(1)
    now += 3.0  # nobody asks any more: nothing is held
    for _ in range(3):
        clients.talk(1, now)
        now += 0.1
    for _ in range(20):
        clients.ask(0, now)
        clients.talk(0, now)
        now += 0.02
    assert clients.busy == [3, 0]


def limits(**values: float) -> HostLimits:
    return HostLimits(PolitenessConfig(requests_per_s=0, **{"breaker_failures": 3, "breaker_pause_s": 60.0, **values}))


def test_a_host_is_left_alone_for_as_long_as_it_says() -> None:
    known = limits()
    assert known.lease(1, HOST, 1, 0, 0.0).connections == 1
    known.told(HOST, True, 1, 30.0, 0.0)
    known.told(HOST, True, 1, 5.0, 1.0)  # the longest wish counts
    lease = known.lease(1, HOST, 1, 0, 2.0)
    assert lease.closed and lease.wait_s == 28.0
    assert not known.lease(1, "b.example", 1, 0, 2.0).closed
    assert not known.lease(1, HOST, 1, 0, 30.0).closed


def test_failures_in_a_row_open_the_circuit_and_one_request_tries_again() -> None:
    known = limits()
    known.told(HOST, False, 2, None, 0.0)
    known.told(HOST, True, 2, None, 0.0)  # an answer in between
    assert not known.lease(1, HOST, 1, 0, 0.0).closed
    known.told(HOST, False, 1, None, 0.0)
    assert known.lease(1, HOST, 1, 0, 10.0).wait_s == 50.0
    probe = known.lease(1, HOST, 9, 0, 60.0)
    assert probe.probe and probe.connections == 1 and probe.slots == [60.0]
    assert known.lease(2, HOST, 1, 0, 60.0).closed  # only one
    known.told(HOST, False, 1, None, 61.0)
    assert known.lease(1, HOST, 1, 0, 61.0).wait_s == 60.0
    assert known.lease(1, HOST, 1, 0, 121.0).probe
    known.told(HOST, True, 0, None, 122.0)
    assert known.lease(2, HOST, 5, 0, 122.0).connections == 5


def test_nobody_waits_for_a_host_that_stays_away() -> None:
    known, now = limits(), 0.0
    known.told(HOST, False, 3, None, now)
    for _ in range(2):
        now += 60.0
        assert known.lease(1, HOST, 1, 0, now).probe
        known.told(HOST, False, 1, None, now)
    assert known.lease(1, HOST, 1, 0, now).wait_s == math.inf
    assert known.lease(1, HOST, 1, 0, now + 60.0).probe  # still, somebody looks after it
    known.told(HOST, True, 0, None, now + 60.0)
    assert not known.lease(1, HOST, 1, 0, now + 60.0).closed


def test_a_breaker_of_zero_failures_never_opens() -> None:
    known = limits(breaker_failures=0)
    known.told(HOST, False, 1000, None, 0.0)
    assert not known.lease(1, HOST, 1, 0, 0.0).closed


def test_a_host_may_be_slower_but_not_faster_than_our_limit() -> None:
    cfg = PolitenessConfig(requests_per_s=10, connections=0, requests_per_s_of={"fast.example": 100.0})
    known = HostLimits(cfg)
    known.slow_down("slow.example", 5.0)
    known.slow_down("fast.example", 0.0001)

    def spacing(host: str) -> float:
        first = known.lease(1, host, 1, 0, 0.0).slots
        then = known.lease(1, host, 1, 0, 4.9 if host == "slow.example" else 0.0).slots
        assert first and then
        return then[0] - first[0]

    assert spacing("slow.example") == 5.0
    assert 0.1 <= spacing(HOST) < 0.11
    assert 0.01 <= spacing("fast.example") < 0.011


def test_hosts_that_nobody_uses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_images.download.host_limits._SWEEP_EVERY", 100)
    known = limits()
    for number in range(1000):
        known.lease(1, f"h{number}.example", 1, 0, float(number))
        known.lease(1, f"h{number}.example", 0, 0, float(number))
    assert len(known._hosts) < 150
    known.told(HOST, False, 3, None, 1000.0)
    for number in range(1000):
        known.lease(1, f"h{number}.example", 0, 0, 1001.0 + number / 1000)
    assert known.lease(1, HOST, 1, 0, 1003.0).closed


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_one_message_every_20_ms_is_enough_for_a_thousand_requests_a_second(rate: float) -> None:
    clients, due = Clients(PolitenessConfig(requests_per_s=rate, connections=80), [0.0]), deque[float]()
    for step in range(5000):
        now = step * 0.001
        while due and due[0] <= now:
            due.popleft()
            clients.done(0)
        while clients.ask(0, now) == 0.0:
            due.append(now + 0.05)
        if step % 20 == 0:
            clients.talk(0, now)
    assert len(clients.starts) > 4500
