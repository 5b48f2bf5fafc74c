import select
import socket
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from ml_images.download.address import Refusal
from ml_images.download.resolver import Found, Resolver


class Names:
    """Stands in for getaddrinfo; names that start with `slow` wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()
        self.now = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, host: str, port: int, family: int, kind: int) -> list:
        with self.lock:
            self.asked.append(host)
            self.now += 1
            self.most = max(self.most, self.now)
        if host.startswith("slow"):
            self.go.wait(5)
        with self.lock:
            self.now -= 1
        if host.startswith("none"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host.startswith("broken"):
            raise AttributeError("our own bug")
        inner = host.startswith("inner")
        return [(socket.AF_INET, kind, 6, "", (text, port)) for text in ("8.8.8.8", "10.0.0.1" if inner else "8.8.4.4")]


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.go.set()


def wait(resolver: Resolver, count: int) -> dict[str, Found]:
    came: dict[str, Found] = {}
    until = time.monotonic() + 5
    while len(came) < count and time.monotonic() < until:
        select.select([resolver.fileno()], [], [], 1)
        came |= dict(resolver.collect())
    return came


def outcome(found: Found | None) -> str:
    assert isinstance(found, Refusal)
    return found.outcome


def test_a_name_is_answered_and_kept_until_it_is_too_old(names: Names) -> None:
    clock = Clock()
    resolver = Resolver(names, ttl_s=60, clock=clock)
    assert resolver.known("a.test") is None
    resolver.ask("a.test")
    assert wait(resolver, 1) == {"a.test": ("8.8.8.8", "8.8.4.4")}
    clock.time += 59.9
    assert resolver.known("a.test") == ("8.8.8.8", "8.8.4.4")
    clock.time += 0.1
    assert resolver.known("a.test") is None
    resolver.close()


def test_failures_are_kept_for_less_long(names: Names) -> None:
    clock = Clock()
    resolver = Resolver(names, ttl_s=60, failure_ttl_s=5, clock=clock)
    for host in ("none.test", "inner.test", "a" * 70):
        resolver.ask(host)
    wait(resolver, 3)
    assert outcome(resolver.known("none.test")) == "dns_error"
    assert outcome(resolver.known("inner.test")) == "address_refused"
    clock.time += 5
    assert resolver.known("none.test") is None
    resolver.close()


def test_private_addresses_are_answers_where_they_are_allowed(names: Names) -> None:
    resolver = Resolver(names, allow_private=True)
    resolver.ask("inner.test")
    assert wait(resolver, 1) == {"inner.test": ("8.8.8.8", "10.0.0.1")}
    resolver.close()


def test_equal_names_are_asked_for_once(names: Names) -> None:
    resolver = Resolver(names)
    for _ in range(50):
        resolver.ask("slow.test")
    names.go.set()
    wait(resolver, 1)
    assert names.asked == ["slow.test"]
    resolver.close()


def test_only_so_many_questions_are_asked_at_a_time(names: Names) -> None:
    resolver = Resolver(names, threads=3)
    for number in range(20):
        resolver.ask(f"slow{number}.test")
    time.sleep(0.1)
    assert names.now == names.most == 3
    names.go.set()
    assert len(wait(resolver, 20)) == 20
    assert names.most <= 3
    resolver.close()


def test_threads_end_with_the_resolver_and_a_late_answer_harms_nobody(names: Names) -> None:
    before = set(threading.enumerate())
    resolver = Resolver(names, threads=4)
    for number in range(6):
        resolver.ask(f"slow{number}.test")
    start = time.monotonic()
    resolver.close()
    assert time.monotonic() - start < 0.1
    names.go.set()
    until = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    assert len(names.asked) <= 4  # what had not been asked is not asked any more


def test_a_bug_in_the_resolve_function_comes_out(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    told: SimpleQueue[type] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda thrown: told.put(thrown.exc_type))
    resolver = Resolver(names)
    resolver.ask("broken.test")
    with pytest.raises(RuntimeError, match=r"broke on broken\.test"):
        wait(resolver, 1)
    assert told.get(timeout=5) is AttributeError
    resolver.close()
