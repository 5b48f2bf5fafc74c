"""Host limits and leases together: what a host sees, whatever its clients do and whenever messages arrive."""

import json
import math
from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_web import busiest_second

from ml_images.download.config import PolitenessConfig
from ml_images.download.host_limits import CLOCK_ERROR_S, TRAVEL_S, USABLE_S, HostLimits, Lease
from ml_images.download.leases import Leases, Question, answer

HOST = "a.example"


class Pool:
    """A client's idle connections to HOST. A request goes out on one of them, or opens another one."""

    def __init__(self) -> None:
        self.idle = self.opened = 0

    def num_idle(self, host: str) -> int:
        return self.idle if host == HOST else 0

    def close_idle(self, host: str, most: int) -> None:
        if host == HOST:
            self.idle = min(self.idle, most)

    def use(self) -> None:
        self.opened += self.idle == 0
        self.idle = max(0, self.idle - 1)


class Clients:
    """Clients whose messages wait until somebody delivers them."""

    def __init__(self, cfg: PolitenessConfig, skews: list[float]) -> None:
        self.limits, self.skews = HostLimits(cfg), skews
        self.leases = [Leases() for _ in skews]
        self.pools = [Pool() for _ in skews]
        for leases, pool in zip(self.leases, self.pools, strict=True):
            leases.pool = pool
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
            if host == HOST:
                self.pools[client].use()
            self.most_open = max(self.most_open, self.open)
        return wait

    @property
    def open(self) -> int:
        """Connections, those that are idle included."""
        return sum(self.busy) + sum(pool.idle for pool in self.pools)

    def done(self, client: int, outcome: str = "ok", retry_after_s: float | None = None) -> None:
        if self.busy[client]:
            self.busy[client] -= 1
            self.pools[client].idle += 1
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
        self.leases[client], self.busy[client], self.pools[client] = Leases(), 0, Pool()
        self.leases[client].pool = self.pools[client]
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
        match rng.choices(range(8), [40, 15, 15, 15, 15, 0.3, 0.5, 0.5])[0]:
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
            case 7:  # the host closes one
                clients.pools[client].idle = max(0, clients.pools[client].idle - 1)
        if connections:
            assert clients.open <= connections
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
    assert len(clients.starts) >= 0.9 * rate * seconds  # a permit in eleven is left for what comes late
    # The worst that can come of it: as late and slow as may be up to a moment, and quick from then on.
    arrived = sorted(start + (USABLE_S + TRAVEL_S if start < seconds / 2 else 0) for start in clients.starts)
    assert busiest_second(arrived) <= max(1, math.floor(1.05 * rate))


@pytest.mark.parametrize(("rate", "num_clients"), [(0.0, 1), (0.0, 3), (50.0, 1), (50.0, 3), (50.0, 12), (400.0, 3)])
@pytest.mark.parametrize("took_s", [0.005, 0.1])
def test_connections_are_used_again_while_there_is_something_to_ask(
    rate: float, num_clients: int, took_s: float
) -> None:
    clients = Clients(PolitenessConfig(requests_per_s=rate, connections=8), [0.0] * num_clients)
    due: list[deque[float]] = [deque() for _ in range(num_clients)]
    for step in range(10_000):
        now = step * 0.001
        for client in range(num_clients):
            while due[client] and due[client][0] <= now:
                due[client].popleft()
                clients.done(client)
            while clients.ask(client, now) == 0.0:
                due[client].append(now + took_s)
            if step % 25 == client:
                clients.talk(client, now)
        assert clients.open <= 8
    # A client that has had its turn closes its own, every 2 s.
    most = 0.1 if num_clients <= 8 else 0.3
    assert sum(pool.opened for pool in clients.pools) < most * len(clients.starts)


def test_idle_connections_are_closed_soon_after_there_is_nothing_to_ask() -> None:
    clients, now = Clients(PolitenessConfig(requests_per_s=0, connections=8), [0.0]), 0.0
    for _ in range(5):
        while clients.ask(0, now) == 0.0:
            pass
        clients.talk(0, now)
        now += 0.02
    assert clients.busy == [8]
    for _ in range(8):
        clients.done(0)
    assert clients.pools[0].idle == 8
    for _ in range(30):
        now += 0.02
        clients.talk(0, now)
    assert clients.pools[0].idle == 0 and not clients.leases[0]._hosts


def test_what_the_lender_is_not_told_of_is_closed_before_it_hears_so() -> None:
    clients = Clients(PolitenessConfig(requests_per_s=0, connections=8), [0.0])
    clients.ask(0, 0.0)
    clients.talk(0, 0.0)
    assert clients.ask(0, 0.1) == 0.0
    clients.talk(0, 0.1)
    clients.done(0, "connect_error")
    assert clients.open == 1
    [asked] = clients.leases[0].questions(0.4)  # the lease is over, and there is a failure to tell
    assert (asked.failures, asked.want, asked.keep, asked.spare) == (1, 0, 0, 0) and clients.open == 0


def test_idle_connections_beyond_a_share_are_closed_for_others() -> None:
    clients, now = Clients(PolitenessConfig(requests_per_s=0, connections=4), [0.0, 0.0]), 0.0
    for step in range(100):
        now = step * 0.02
        while clients.ask(0, now) == 0.0:
            pass
        clients.talk(0, now)
        for _ in range(clients.busy[0]):
            clients.done(0)
    assert clients.pools[0].idle == 4 and clients.pools[0].opened == 4
    for step in range(100, 130):  # leases last a quarter of a second
        now = step * 0.02
        for client in (0, 1):
            while clients.ask(client, now) == 0.0:
                pass
            clients.talk(client, now)
            for _ in range(clients.busy[client]):
                clients.done(client)
        assert clients.open <= 4
    assert [pool.opened for pool in clients.pools] == [4, 2] and [pool.idle for pool in clients.pools] == [2, 2]


def test_idle_connections_are_their_clients_until_it_says_that_they_are_closed() -> None:
    known = limits(connections=4)
    assert known.lease(1, HOST, 4, 0, 0.0).connections == 4
    assert known.lease(2, HOST, 4, 0, 0.1).connections == 0
    assert known.lease(1, HOST, 1, 0, 0.3, spare=4).connections == 2  # its share
    assert known.lease(2, HOST, 4, 0, 0.3).connections == 0
    assert known.lease(1, HOST, 0, 1, 0.4, spare=1).connections == 2
    assert known.lease(2, HOST, 4, 0, 0.4).connections == 2


def test_nobody_closes_idle_connections_where_they_are_not_limited() -> None:
    clients, now = Clients(PolitenessConfig(requests_per_s=0, connections=0), [0.0]), 0.0
    for _ in range(5):
        while clients.ask(0, now) == 0.0:
            pass
        clients.talk(0, now)
        now += 0.02
    for _ in range(clients.busy[0]):
        clients.done(0)
    for _ in range(100):
        now += 0.02
        clients.talk(0, now)
    assert clients.pools[0].idle == 2 + 4 + 8 + 16


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


@pytest.mark.parametrize(("rate", "connections", "num_clients"), [(0.0, 16, 10), (0.0, 4, 3), (200.0, 16, 10)])
def test_nobody_goes_without_where_connections_do_not_divide_evenly(
    rate: float, connections: int, num_clients: int
) -> None:
    clients = Clients(PolitenessConfig(requests_per_s=rate, connections=connections), [0.0] * num_clients)
    starts: Counter[int] = Counter()
    due: deque[tuple[float, int]] = deque()
    for step in range(8000):
        now = step * 0.001
        while due and due[0][0] <= now:
            clients.done(due.popleft()[1])
        for client in range(num_clients):
            while clients.ask(client, now) == 0.0:
                starts[client] += 1
                due.append((now + 0.05, client))
            if step % 25 == client:
                clients.talk(client, now)
    assert clients.most_open <= connections
    assert len(starts) == num_clients and min(starts.values()) > 0.3 * max(starts.values())


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


@pytest.mark.parametrize("rate", [0.0, 2.0, 50.0, 400.0])
@pytest.mark.parametrize("num_requests", [1, 3, 20])
def test_a_client_that_has_nothing_more_to_ask_holds_nothing(rate: float, num_requests: int) -> None:
    clients = Clients(PolitenessConfig(requests_per_s=rate, connections=4), [0.0, 0.0])
    now = 0.0
    while len(clients.starts) < num_requests:
        if clients.ask(0, now) == 0.0:
            clients.done(0)
        clients.talk(0, now)
        now += 0.02
    for _ in range(100):
        clients.talk(0, now)
        now += 0.02
    assert clients.open == 0 and not clients.leases[0]._hosts
    assert clients.limits.lease(2, HOST, 4, 0, now + 1.0).connections >= (4 if rate in (0.0, 400.0) else 1)
    assert not clients.limits._hosts[HOST].held.get(0)


def test_messages_stay_short_and_no_host_is_forgotten_over_it() -> None:
    clients = Clients(PolitenessConfig(), [0.0])
    waiting = {f"{number}.{'long.' * 40}example" for number in range(9000)}
    now, longest = 0.0, 0
    while waiting and now < 5.0:
        waiting = {host for host in waiting if clients.ask(0, now, host) > 0}
        clients.send(0, now)
        longest = max(longest, len(json.dumps(clients.to_limits[0])))
        clients.arrive(0, now)
        clients.back(0, now)
        now += 0.02
    assert not waiting and 200_000 < longest < 1_000_000  # the governor takes 4 MiB


def test_hosts_that_are_always_asked_about_keep_no_other_waiting() -> None:
    leases, told = Leases(), set[str]()
    for step in range(3):
        for number in range(6000):
            leases.ask(f"{number}.example", step * 0.02)
        told |= {asked.host for asked in leases.questions(step * 0.02)}
        leases.answers([], step * 0.02)
    assert len(told) == 6000


def test_a_host_that_is_left_alone_is_not_asked_about() -> None:
    clients = Clients(PolitenessConfig(requests_per_s=50, connections=4), [0.0])
    clients.ask(0, 0.0)
    clients.talk(0, 0.0)
    assert clients.ask(0, 0.0) == 0.0
    clients.ask(0, 0.0)
    clients.done(0, "rate_limited", 30.0)
    for step in range(1, 10):
        clients.ask(0, step * 0.02)
        clients.talk(0, step * 0.02)
    for step in range(10, 100):
        clients.ask(0, step * 0.1)
        assert clients.leases[0].questions(step * 0.1) == []


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
    assert 0.1 <= spacing(HOST) < 0.1101
    assert 0.01 <= spacing("fast.example") < 0.011


EXTREMES = [0.0, -1.0, 5e-324, 1e-310, 1e-300, 1e-9, 1e-3, 1.0, 1e5, 1e300, 1.7e308, math.inf, math.nan]


@pytest.mark.parametrize("interval_s", EXTREMES)
@pytest.mark.parametrize("rate", [0.0, 5e-324, 1e-310, 1e-9, 50.0, 1e9, 1.7e308, math.inf])
@pytest.mark.parametrize("clock", [0.0, 1e7])
def test_any_pace_gives_leases_that_make_sense(rate: float, interval_s: float, clock: float) -> None:
    known = HostLimits(PolitenessConfig(requests_per_s=rate, connections=4, breaker_failures=1, breaker_pause_s=1.0))
    known.slow_down(HOST, interval_s)
    for step in range(5):
        now = clock + step
        lease = known.lease(1, HOST, 3, 0, now)
        assert 0.0 <= lease.wait_s <= 1e9  # not nan
        assert lease.slots is None or all(now <= slot < now + 1.0 for slot in lease.slots)
        assert step or lease.slots is None or lease.slots
        known.lease(1, HOST, 0, 0, now)
    known.told(HOST, False, 1, None, clock + 5.0)
    probe = known.lease(1, HOST, 1, 0, clock + 1e10)
    assert probe.probe and probe.slots == [clock + 1e10]


@pytest.mark.parametrize("interval_s", [86_400.0, 1e9])
def test_a_pace_of_a_request_a_day_or_slower_is_kept(interval_s: float) -> None:
    known = limits()
    known.slow_down(HOST, interval_s)
    assert known.lease(1, HOST, 1, 0, 0.0).slots == [0.0]
    assert not known.lease(1, HOST, 1, 0, interval_s - 1.0).slots
    assert known.lease(1, HOST, 1, 0, interval_s).slots == [interval_s]


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
