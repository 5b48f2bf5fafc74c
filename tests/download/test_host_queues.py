import math

from ml_images.download.host_queues import HostQueues


class Waits:
    """A gate that answers as told; 0 if it was not told anything."""

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}
        self.asked: list[str] = []

    def ask(self, host: str, now: float) -> float:
        self.asked.append(host)
        return self.waits.get(host, 0.0)

    def done(self, host: str, now: float, outcome: str, retry_after_s: float | None) -> None: ...

    def slow_down(self, host: str, interval_s: float) -> None: ...

    def tend(self, now: float) -> None: ...


def queues() -> tuple[Waits, HostQueues[str]]:
    gate = Waits()
    return gate, HostQueues(gate, patience_s=100.0)


def taken(waiting: HostQueues[str], now: float) -> list[str]:
    found = []
    while (one := waiting.take(now)) is not None:
        found.append(one[1])
    return found


def test_hosts_take_turns_and_each_keeps_its_order() -> None:
    _, waiting = queues()
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        waiting.put(item[0], item, 0.0)
    assert taken(waiting, 0.0) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(waiting) == 0


def test_a_host_that_has_to_wait_holds_no_other_back_and_is_asked_when_it_is_time() -> None:
    gate, waiting = queues()
    gate.waits["a"] = 5.0
    for item in ("a1", "a2", "b1", "b2"):
        waiting.put(item[0], item, 0.0)
    assert taken(waiting, 0.0) == ["b1", "b2"]
    assert waiting.next_wake == 5.0 and len(waiting) == 2
    gate.asked.clear()
    waiting.put("a", "a3", 1.0)
    assert taken(waiting, 4.9) == [] and gate.asked == []
    gate.waits.clear()
    assert taken(waiting, 5.0) == ["a1", "a2", "a3"]


def test_a_woken_host_is_asked_at_once_and_not_again_for_its_old_time() -> None:
    gate, waiting = queues()
    gate.waits["a"] = 5.0
    waiting.put("a", "a1", 0.0)
    assert taken(waiting, 0.0) == []
    gate.waits["a"] = 50.0
    waiting.wake("a")
    assert taken(waiting, 1.0) == []
    gate.asked.clear()
    assert taken(waiting, 6.0) == [] and gate.asked == []
    gate.waits.clear()
    assert taken(waiting, 51.0) == ["a1"]
    waiting.wake("nobody")


def test_what_is_urgent_goes_first() -> None:
    _, waiting = queues()
    waiting.put("a", "a1", 0.0)
    waiting.put("a", "redirected", 0.0, first=True)
    assert taken(waiting, 0.0) == ["redirected", "a1"]


def test_patience_ends_for_all_that_wait_for_the_host() -> None:
    gate, waiting = queues()
    gate.waits = {"shut": math.inf, "later": 101.0, "slow": 50.0}
    for host in ("shut", "later", "slow"):
        waiting.put(host, f"{host}1", 0.0)
        waiting.put(host, f"{host}2", 0.0)
    assert taken(waiting, 0.0) == []
    assert {outcome for _, outcome, _ in waiting.given_up} == {"host_unavailable"}
    reasons = {item: reason for item, _, reason in waiting.given_up}
    assert set(reasons) == {"shut1", "shut2", "later1", "later2"}
    assert reasons["shut1"] == "shut: its circuit stays open" and reasons["later2"] == "later: it asks for 101 s"
    waiting.given_up.clear()
    assert taken(waiting, 50.0) == taken(waiting, 100.0) == [] and not waiting.given_up
    taken(waiting, 150.0)
    assert list(waiting.given_up) == [
        (f"slow{number}", "host_unavailable", "slow: no permit for 150 s") for number in (1, 2)
    ]
    assert len(waiting) == 0


def test_a_slow_host_that_moves_is_not_given_up() -> None:
    gate, waiting = queues()
    for number in range(10):
        waiting.put("a", str(number), 0.0)
    now = 0.0
    for number in range(10):
        gate.waits.clear()
        waiting.wake("a")
        assert waiting.take(now) == ("a", str(number))
        gate.waits["a"] = 90.0
        assert waiting.take(now) is None
        now += 90.0
    assert not waiting.given_up


class Names:
    """A Network as far as it is asked here: hosts are known when they are told to be."""

    buffer_bytes = math.inf
    bytes_elsewhere = 0

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: list[str] = []

    def knows(self, host: str) -> bool:
        self.asked.append(host)
        return host in self.known

    def learned(self) -> list[str]:
        return []

    def num_idle(self, host: str) -> int:
        return 0

    def close_idle(self, host: str, most: int) -> None: ...


def named() -> tuple[Waits, Names, HostQueues[str]]:
    gate, names = Waits(), Names()
    return gate, names, HostQueues(gate, 100.0, names)


def test_no_permit_is_asked_for_before_the_address_is_known() -> None:
    gate, names, waiting = named()
    names.known.add("b")
    for host in "ab":
        waiting.put(host, f"{host}1", 0.0)
    assert taken(waiting, 0.0) == ["b1"] and gate.asked == ["b"]
    names.known.add("a")
    waiting.wake("a")
    assert taken(waiting, 0.1) == ["a1"] and gate.asked == ["b", "a"]


def test_an_unknown_host_is_looked_at_now_and_then_and_given_up_after_patience() -> None:
    gate, names, waiting = named()
    waiting.put("a", "a1", 0.0)
    for step in range(1000):
        assert taken(waiting, step * 0.01) == []
    assert 8 <= len(names.asked) <= 12
    assert taken(waiting, 100.0) == [] and not waiting.given_up
    assert taken(waiting, 102.0) == []
    assert list(waiting.given_up) == [("a1", "dns_error", "a: no address for 102 s")] and len(waiting) == 0
    assert gate.asked == []


def test_patience_with_a_name_begins_anew_while_answers_to_others_come() -> None:
    """It may not have been asked for yet."""
    _, names, waiting = named()
    waiting.put("a", "a1", 0.0)
    for now in range(0, 1000, 50):
        assert taken(waiting, float(now)) == []
        waiting.learned(["other"], float(now))
    assert not waiting.given_up
    assert taken(waiting, 1052.0) == []
    assert list(waiting.given_up) == [("a1", "dns_error", "a: no address for 102 s")]
    waiting.put("b", "b1", 2000.0)
    assert taken(waiting, 2000.0) == []
    names.known.add("b")
    waiting.learned(["b"], 2000.1)
    assert taken(waiting, 2000.1) == ["b1"]


def test_waits_for_an_address_do_not_add_up() -> None:
    _, names, waiting = named()
    waiting.put("a", "a1", 0.0)
    waiting.put("a", "a2", 0.0)
    assert taken(waiting, 0.0) == []
    names.known.add("a")
    assert waiting.take(60.0) == ("a", "a1")
    names.known.clear()
    assert taken(waiting, 90.0) == [] and taken(waiting, 180.0) == [] and not waiting.given_up
