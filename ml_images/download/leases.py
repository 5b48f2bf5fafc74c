"""What one client (a worker) does with the permits that HostLimits lends it: few questions, no permit used too late.

Pure bookkeeping like host_limits.py, on the lender's clock. `questions` says what there is to ask and to tell, all
hosts in one message; one message is under way at a time. Until its answer is there, a host has no more connections than
the message declared, idle ones included.

Idle connections stay open as long as there are permits for them: for the requests that slots in hand are for, and
further ones while something waits for the host, up to what the lender grants. All others are closed before the lender
hears that they are free.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ml_images.download.gate import Pool
from ml_images.download.host_limits import FAILURES, USABLE_S, HostLimits, Lease

_SOON_S = 0.002  # when to look again for an answer that is on its way
_RELEASE_S = 0.05  # how long a connection that nobody wants may stay undeclared: several go back in one message
# Between two messages of one client: many small questions become one. All clients together send at most 500 a second.
_PAUSE_S = 0.02
_PAUSE_PER_CLIENT_S = 0.002
_MOST = 256  # requests wanted from one lease
_MOST_HOSTS = 2048  # in one message, of some 300 bytes each at most; the others are asked about by the next one
_QUIET_S = 0.05  # before another look at a host that nobody has used since the last one; there may be thousands
_LINGER_S = 0.5  # idle connections are closed where the next question has to wait for longer


class Question(NamedTuple):
    """What HostLimits.told, slow_down and lease want to know about a host."""

    host: str
    want: int
    keep: int
    answered: bool
    failures: int
    retry_after_s: float | None
    interval_s: float | None
    spare: int = 0


@dataclass
class _Host:
    busy: int = 0  # connections in use
    allowed: int = 0  # connections, until `until`
    declared: int = 0  # connections that the lender takes us to hold
    is_counted: bool = True  # is there a limit of connections?
    until: float = -math.inf
    slots: deque[float] | None = field(default_factory=deque)  # None: at any time until `until`
    want: int = 1  # doubled while all is used, halved when something was not
    wasted: bool = False
    quiet_until: float = -math.inf  # nothing is to be told before, unless something happens
    short: bool = False  # somebody asked in vain, or soon will
    ask_at: float = -math.inf  # no question before
    release_at: float = math.inf
    closed_until: float = -math.inf
    probing: bool = False
    answered: bool = False
    failures: int = 0  # since the last answer
    retry_after_s: float | None = None
    interval_s: float | None = None

    def drop_late_slots(self, now: float) -> None:
        while self.slots and self.slots[0] + USABLE_S < now:
            self.slots.popleft()
            self.wasted = True

    def keep(self, now: float) -> int:
        """Connections that are in use, or may come into use before the next lease."""
        if self.slots is not None:
            return self.busy + len(self.slots)  # each comes with its connection
        return max(self.busy, self.allowed) if now <= self.until else self.busy

    def has_news(self, now: float) -> bool:
        """Is there anything to ask or to tell, but for connections to give back?"""
        if self.failures or self.retry_after_s is not None or self.interval_s is not None:
            return True
        return (self.probing and self.answered) or (self.short and max(self.ask_at, self.closed_until) <= now)

    def is_forgettable(self, now: float) -> bool:
        return not (self.busy or self.declared or self.short) and max(self.until, self.closed_until, self.ask_at) < now


class Leases:
    """The permits of one client. `pool` holds its idle connections, if it keeps any."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self.awaited = False  # is a message under way?
        self.pool: Pool | None = None

    def ask(self, host: str, now: float) -> float:
        """As Gate.ask."""
        known = self._hosts.get(host)
        if known is None:
            known = self._hosts[host] = _Host()
        if known.closed_until > now:
            return known.closed_until - now
        known.quiet_until = -math.inf
        known.drop_late_slots(now)
        slots = known.slots
        if slots:
            if slots[0] > now:
                return slots[0] - now
            slots.popleft()
            known.busy += 1
            known.short = known.short or len(slots) <= known.want // 2
            return 0.0
        if slots is None and now <= known.until and known.busy < known.allowed:
            known.busy += 1
            return 0.0
        known.short = True
        return max(known.ask_at - now, _SOON_S)

    def done(self, host: str, outcome: str, retry_after_s: float | None) -> None:
        """As Gate.done."""
        known = self._hosts[host]
        assert known.busy > 0, f"{host}: a connection given back twice"
        known.busy -= 1
        known.quiet_until = -math.inf
        if outcome in FAILURES:
            known.failures += 1
        else:
            known.answered, known.failures = True, 0
        if retry_after_s is not None:
            known.retry_after_s = max(retry_after_s, known.retry_after_s or 0.0)

    def slow_down(self, host: str, interval_s: float) -> None:
        """As Gate.slow_down."""
        known = self._hosts.setdefault(host, _Host())
        known.interval_s, known.quiet_until = interval_s, -math.inf
        known.slots, known.allowed, known.until = deque(), 0, -math.inf  # lent for another pace

    def questions(self, now: float) -> list[Question]:
        """What is to be asked and told now; empty while an answer is awaited, or when there is nothing."""
        if self.awaited:
            return []
        asked = []
        for host, known in list(self._hosts.items()):
            if now < known.quiet_until:
                continue
            known.drop_late_slots(now)  # nobody may ask for this host again, and each holds a connection
            if known.has_news(now) or self._is_to_give_back(host, known, now):
                asked.append(self._question(host, known, now))
                if len(asked) == _MOST_HOSTS:
                    break
            elif known.is_forgettable(now):
                del self._hosts[host]
            else:
                known.quiet_until = now + _QUIET_S
        if len(asked) == _MOST_HOSTS:  # the others are first next time
            for question in asked:
                self._hosts[question.host] = self._hosts.pop(question.host)
        self.awaited = bool(asked)
        return asked

    def answers(self, leases: Iterable[tuple[str, Lease]], now: float) -> None:
        """What the questions brought, times by our clock."""
        self.awaited = False
        for host, lease in leases:
            known = self._hosts[host]
            _take(known, lease, now)
            self._close_idle(host, known, lease.connections)

    def _is_to_give_back(self, host: str, known: _Host, now: float) -> bool:
        """Has the lender been told of more connections than there may be, for long enough?"""
        keep = known.keep(now)
        if known.declared <= keep or known.declared <= (keep := keep + self._spare(host, known, keep, now)):
            known.release_at = math.inf
            return False
        known.release_at = min(known.release_at, now + _RELEASE_S)
        if now >= known.release_at - _RELEASE_S / 2:  # so soon that the host has seen it when others may open one
            self._close_idle(host, known, keep)
        return now >= known.release_at

    def _spare(self, host: str, known: _Host, keep: int, now: float) -> int:
        """Idle connections that are worth keeping beside those that there are permits for."""
        soon = known.short and max(known.ask_at, known.closed_until) <= now + _LINGER_S
        return max(0, self._num_idle(host, known) - (keep - known.busy)) if soon else 0

    def _num_idle(self, host: str, known: _Host) -> int:
        return self.pool.num_idle(host) if self.pool is not None and known.is_counted else 0

    def _close_idle(self, host: str, known: _Host, connections: int) -> None:
        if self.pool is not None and known.is_counted:
            self.pool.close_idle(host, max(0, connections - known.busy))

    def _question(self, host: str, known: _Host, now: float) -> Question:
        want = 0
        if known.short and known.ask_at <= now and known.closed_until <= now:
            want = known.want = max(1, known.want // 2) if known.wasted else min(known.want * 2, _MOST)
            known.wasted = False
        keep = known.keep(now)
        spare = self._spare(host, known, keep, now)
        self._close_idle(host, known, keep + spare)
        known.allowed, known.declared = keep, keep + spare
        known.release_at = math.inf
        told = known.answered, known.failures, known.retry_after_s, known.interval_s
        known.answered = known.probing = False
        known.failures, known.retry_after_s, known.interval_s = 0, None, None
        known.short = known.short and want == 0
        return Question(host, want, keep, *told, spare=spare)


def _take(known: _Host, lease: Lease, now: float) -> None:
    known.is_counted, known.quiet_until = lease.counted, -math.inf
    known.declared = max(known.declared, lease.connections)
    if lease.closed:
        known.slots, known.allowed, known.until = deque(), 0, -math.inf
        known.closed_until = now + lease.wait_s
        return
    if known.interval_s is not None:  # lent before the lender knew of the host's wish
        return
    known.allowed = lease.connections
    known.until = max(known.until, lease.until)
    known.probing = lease.probe
    known.ask_at = now + lease.wait_s
    if lease.slots is None:
        known.slots = None
        return
    known.slots = known.slots if known.slots is not None else deque()
    known.slots.extend(lease.slots)


def pause_s(num_clients: int) -> float:
    """From an answer to a client's next message."""
    return max(_PAUSE_S, _PAUSE_PER_CLIENT_S * num_clients)


def answer(limits: HostLimits, client: int, questions: Iterable[Question], now: float) -> list[tuple[str, Lease]]:
    """The lender's side of a message."""
    leases = []
    for asked in questions:
        if asked.interval_s is not None:
            limits.slow_down(asked.host, asked.interval_s)
        if asked.answered or asked.failures or asked.retry_after_s is not None:
            limits.told(asked.host, asked.answered, asked.failures, asked.retry_after_s, now)
        leases.append((asked.host, limits.lease(client, asked.host, asked.want, asked.keep, now, asked.spare)))
    return leases
