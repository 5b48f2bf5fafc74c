"""How much each host has to bear, from everybody together: pure bookkeeping over the clock that is passed in.

Permits are lent for a moment (`Lease`): so many connections until then, and the times ("slots") at which requests may
leave. A slot that is not used within USABLE_S of its time is gone. So whatever the holders do with their slots, late,
early, all at once, any second sees at most the slots of a second and a bit, which the spacing allows for:

    requests in any second <= max(1, 1.05 * limit)

with holders whose clocks differ from ours by at most CLOCK_ERROR_S. `held` counts a connection from the moment at which
somebody may open it until he says that he won't, and that it is closed: idle ones count as those in use do. A client
may keep idle ones (`spare`) while it has more to ask of the host and nobody else needs them, so keep-alive costs no
host a connection too many.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

from ml_images.download.config import PolitenessConfig

USABLE_S = 0.04
CLOCK_ERROR_S = 0.005
TRAVEL_S = 0.05  # from a permit to the host; by so much one request may take longer than another on a busy machine
_EXCESS = 1.05  # of the limit, in the worst second
_AHEAD_S = 0.2  # slots are lent up to so far ahead, or more
_AHEAD_PER_CLIENT_S = 0.006  # where there are so many clients that each has a message only now and then
_LEASE_S = 0.25  # connections are lent for so long
_INTERESTED_S = 2.0  # a client that asked within so long counts when connections and slots are shared out
_CROWDED_S = 0.02  # before another try where others have all connections, or all slots
_PROBED_S = 1.0  # before another look at a host that somebody tries at this moment
_TENURE_S = 2.0  # for which a client may hold on to connections where there are more clients than connections
_REST_S = 1.0  # before it may ask again after that: long enough for the others to hear of it
_DEAD_AFTER = 3  # openings of a circuit in a row after which nobody should wait for the host any longer
# Between two slots. Nobody sends a million requests a second, and no run sees the end of thirty years; what lies
# between the two can be multiplied, divided and added to a clock without losing a slot or becoming infinite.
_LEAST_SPACING_S, _MOST_SPACING_S = 1e-6, 1e9
_SWEEP_EVERY = 20_000  # leases between two searches for hosts that can be forgotten

# The host did not answer as a host does that is well. Anything else, a 404 too, shows that it is there.
FAILURES = frozenset(("connect_error", "dns_error", "tls_error", "timeout", "server_error", "rate_limited"))


@dataclass(frozen=True)
class Lease:
    """What a client may do with a host. `connections` are all that it may have at a time, those in use and those that
    are idle included."""

    connections: int
    until: float  # no request may start later
    slots: list[float] | None  # None: at any time
    wait_s: float = 0.0  # where there is nothing to be had: ask again in so long
    closed: bool = False  # not even what is lent already may start before wait_s is over
    probe: bool = False  # the one request that tries whether the host is back
    counted: bool = True  # is there a limit of connections? Else idle ones are nobody's business


@dataclass
class _Host:
    spacing_s: float  # between two slots; 0: no limit
    next_slot: float = -math.inf
    held: dict[int, int] = field(default_factory=dict)  # by client
    since: dict[int, float] = field(default_factory=dict)  # by client: from when on it held any
    asked: dict[int, float] = field(default_factory=dict)  # by client: when it wanted something last
    paused_until: float = -math.inf  # the host's own wish (Retry-After)
    failures: int = 0  # in a row
    openings: int = 0  # of the circuit, in a row
    open_until: float = -math.inf
    probe_until: float = -math.inf

    def interested(self, now: float) -> int:
        for client in [client for client, when in self.asked.items() if when < now - _INTERESTED_S]:
            del self.asked[client]
        return max(1, len(self.asked))

    def share(self, client: int, limit: int, now: float) -> int:
        """Of `limit` connections; 1 where there are not enough for everybody. Together the shares are no more than
        there are: whoever held another one would take it back with each lease, and somebody would never get any."""
        least, rest = divmod(limit, self.interested(now))
        return max(1, least + (sum(other < client for other in self.asked) < rest))

    def lend_slots(self, now: float, number: int, ahead_s: float) -> list[float]:
        """The next free slots, up to so many, of the next `ahead_s`."""
        first = max(now, self.next_slot)
        number = min(number, math.floor((now + ahead_s - first) / self.spacing_s) + 1)
        if number <= 0:
            return []
        self.next_slot = first + number * self.spacing_s
        return [first + place * self.spacing_s for place in range(number)]

    def is_idle(self, now: float) -> bool:
        times = (self.next_slot, self.paused_until, self.open_until, self.probe_until)
        return not self.held and not self.openings and not self.failures and max(times) < now - 1.0


class HostLimits:
    """The limits of all hosts and who holds how much of them. Clients are numbers given by the caller."""

    def __init__(self, cfg: PolitenessConfig) -> None:
        self._cfg = cfg
        self._hosts: dict[str, _Host] = {}
        self._of_client: dict[int, set[str]] = defaultdict(set)
        self._slowed: dict[str, float] = {}  # by host: its own shortest interval
        self._num_leases = 0

    def lease(self, client: int, host: str, want: int, keep: int, now: float, spare: int = 0) -> Lease:
        """Up to `want` more requests for a client that holds on to `keep` connections, would like to keep `spare` idle
        ones and gives all others back.

        Until the answer is there, the client must not have more than `keep + spare` connections; those that the answer
        does not give it are its own until it says that they are closed.
        """
        self._sweep(now)
        known = self._host(host)
        self._hold(known, host, client, keep + spare, now)
        lease = self._lend(known, client, want, keep, spare, now)
        self._hold(known, host, client, max(keep + spare, lease.connections), now)
        return lease if self._cfg.connections else replace(lease, counted=False)

    def _lend(self, known: _Host, client: int, want: int, keep: int, spare: int, now: float) -> Lease:
        if want == 0:
            return Lease(max(keep, self._connections(known, client, spare, keep, now)), now, [])
        known.asked[client] = now
        closed_for = max(known.paused_until, known.open_until) - now
        if closed_for > 0:
            gave_up = known.openings >= _DEAD_AFTER and known.open_until >= known.paused_until
            return Lease(keep, now, [], math.inf if gave_up else closed_for, closed=True)
        if known.openings:
            return self._probe(known, client, keep, now)
        if self._has_had_its_turn(known, client, now):
            return Lease(0, now, [], _REST_S)
        connections = self._connections(known, client, max(want, spare), keep, now)
        if connections <= 0:
            return Lease(0, now, [], _CROWDED_S)
        if not known.spacing_s:
            return Lease(connections, now + _LEASE_S, None)
        return self._slots(known, connections, want, keep, spare, now)

    def told(self, host: str, answered: bool, failures: int, retry_after_s: float | None, now: float) -> None:
        """How requests to the host went: was there any answer, and how many failures came after the last one?"""
        known = self._host(host)
        if retry_after_s is not None:
            known.paused_until = max(known.paused_until, now + retry_after_s)
        if answered:
            known.failures = known.openings = 0
            known.open_until = known.probe_until = -math.inf
        known.failures += failures
        limit = self._cfg.breaker_failures
        if not limit or not failures or known.open_until > now:  # open: these are the last ones of before
            return
        if known.openings or known.failures >= limit:
            known.openings += 1
            known.failures = 0
            known.open_until, known.probe_until = now + self._cfg.breaker_pause_s, -math.inf

    def slow_down(self, host: str, interval_s: float) -> None:
        """At least so much time between two requests to the host from now on, also where no limit was set."""
        self._slowed[host] = max(_bounded(interval_s), self._slowed.get(host, 0.0))
        self._host(host).spacing_s = self._spacing_s(host)

    def leave(self, client: int) -> None:
        """The client is gone, and with it its connections. Its slots are not lent to anybody else."""
        for host in self._of_client.pop(client, ()):
            known = self._hosts.get(host)
            if known is not None:
                self._hold(known, host, client, 0, 0.0)
                known.asked.pop(client, None)

    def _host(self, host: str) -> _Host:
        known = self._hosts.get(host)
        if known is None:
            known = self._hosts[host] = _Host(self._spacing_s(host))
        return known

    def _spacing_s(self, host: str) -> float:
        rate = self._cfg.requests_per_s_of.get(host, self._cfg.requests_per_s)
        spacing = 0.0
        if 0 < rate < 1 / _LEAST_SPACING_S:
            # As many slots as the worst second may see have to spread over that second and the time that each may
            # be late, at its holder or on its way; a limit below one a second is kept on average.
            worst = max(1, math.floor(rate * _EXCESS))
            spacing = max(1 / rate, (1 + USABLE_S + 2 * CLOCK_ERROR_S + TRAVEL_S) / worst)
        return max(_bounded(spacing), self._slowed.get(host, 0.0))

    def _hold(self, known: _Host, host: str, client: int, connections: int, now: float) -> None:
        if connections:
            known.held[client] = connections
            known.since.setdefault(client, now)
            self._of_client[client].add(host)
        else:
            known.held.pop(client, None)
            known.since.pop(client, None)

    def _has_had_its_turn(self, known: _Host, client: int, now: float) -> bool:
        """Has it held connections for long, while there are not enough for everybody?"""
        if now - known.since.get(client, now) <= _TENURE_S or not self._cfg.connections:
            return False
        return known.interested(now) > self._cfg.connections

    def _connections(self, known: _Host, client: int, want: int, keep: int, now: float) -> int:
        limit = self._cfg.connections
        if not limit:
            return keep + want
        free = limit - sum(known.held.values()) + known.held.get(client, 0)
        return min(keep + want, free, known.share(client, limit, now))

    def _slots(self, known: _Host, connections: int, want: int, keep: int, spare: int, now: float) -> Lease:
        # As many slots as connections: who has a slot can use it.
        interested = known.interested(now)
        ahead_s = max(_AHEAD_S, _AHEAD_PER_CLIENT_S * interested)
        most = min(want, connections - keep, math.ceil(ahead_s / known.spacing_s / interested))
        least = max(keep, min(keep + spare, connections))
        slots = known.lend_slots(now, most, ahead_s) if most > 0 else []
        if not slots:
            return Lease(least, now, [], max(_CROWDED_S, known.next_slot - now - ahead_s / 2))
        return Lease(max(keep + len(slots), least), slots[-1] + USABLE_S, slots)

    def _probe(self, known: _Host, client: int, keep: int, now: float) -> Lease:
        if keep or known.probe_until > now:
            wait = math.inf if known.openings >= _DEAD_AFTER else _PROBED_S
            return Lease(keep, now, [], wait, closed=True)
        slots = [now]
        has_connection = self._connections(known, client, 1, keep, now) > 0
        if has_connection and known.spacing_s:
            slots = known.lend_slots(now, 1, _AHEAD_S)
        if not has_connection or not slots:
            return Lease(0, now, [], _CROWDED_S)
        known.probe_until = now + self._cfg.breaker_pause_s  # whoever has it may die
        return Lease(1, slots[0] + _PROBED_S, slots, probe=True)

    def _sweep(self, now: float) -> None:
        self._num_leases += 1
        if self._num_leases % _SWEEP_EVERY == 0:
            for host in [host for host, known in self._hosts.items() if known.is_idle(now)]:
                del self._hosts[host]
            for hosts in self._of_client.values():
                hosts.intersection_update(self._hosts)


def _bounded(spacing_s: float) -> float:
    return min(spacing_s, _MOST_SPACING_S) if spacing_s >= _LEAST_SPACING_S else 0.0  # nan too
