from ml_images.download.results import Memory, Result
from ml_images.download.wanted import Candidate
from ml_images.images.resize import Shrunk


def wish(place: str, size: int | None = None) -> tuple[str, Candidate]:
    return place, Candidate(f"another spelling of {place}", size=size)


def ok(size: int) -> Result:
    return Result("ok", picture=Shrunk(bytes(size), 1, 1, 1, 1, 0))


def test_a_failed_url_is_known_to_all_and_a_judged_one_to_those_who_expect_the_same() -> None:
    memory = Memory(100_000)
    memory.failed("u", Result("not_found"))
    memory.judged(*wish("v", size=7), Result("changed"))
    memory.judged(*wish("v"), ok(10))
    assert (memory.get(*wish("u", size=3)) or ok(0)).outcome == "not_found"
    assert (memory.get(*wish("v", size=7)) or ok(0)).outcome == "changed"
    assert (memory.get(*wish("v")) or Result("")).outcome == "ok"
    assert memory.get(*wish("v", size=8)) is None and memory.get(*wish("w")) is None


def test_pictures_are_forgotten_by_bytes_those_not_used_for_longest_first() -> None:
    memory = Memory(100_000)
    for name in "abcde":
        memory.judged(*wish(name), ok(19_000))
    assert memory.get(*wish("a")) is not None
    memory.judged(*wish("f"), ok(19_000))
    assert memory.get(*wish("b")) is None and memory.get(*wish("a")) is not None
    memory.judged(*wish("g"), ok(200_000))  # however large: the newest one is kept
    assert memory.get(*wish("g")) is not None and memory.get(*wish("f")) is None


def test_pictures_do_not_push_failures_out() -> None:
    memory = Memory(100_000)
    memory.failed("u", Result("not_found"))
    for number in range(100):
        memory.judged(*wish(str(number)), ok(10_000))
    assert memory.get(*wish("u")) is not None
    for number in range(100):
        memory.failed(f"f{number}", Result("timeout"))
    assert memory.get(*wish("u")) is None


def test_what_hosts_write_takes_room_too() -> None:
    for told in ({"detail": "x" * 9000}, {"final_url": "x" * 9000}, {"content_type": "x" * 9000}):
        memory = Memory(100_000)
        for number in range(11):
            memory.failed(str(number), Result("not_found", **told))
        assert [number for number in range(11) if memory.get(*wish(str(number))) is None] == [0]


def test_a_failure_told_again_and_again_takes_its_room_once() -> None:
    memory = Memory(20_000)
    for number in range(10):
        memory.failed(f"other {number}", Result("not_found"))
    for _ in range(100):
        memory.failed("u", Result("timeout"))
    assert all(memory.get(*wish(f"other {number}")) is not None for number in range(10))
