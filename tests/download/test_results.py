from ml_images.download.results import Memory, Result
from ml_images.download.wanted import Candidate
from ml_images.images.resize import Shrunk


def ok(size: int) -> Result:
    return Result("ok", picture=Shrunk(bytes(size), 1, 1, 1, 1, 0))


def test_a_failed_url_is_known_to_all_and_a_judged_one_to_those_who_expect_the_same() -> None:
    memory = Memory(100_000)
    memory.failed("u", Result("not_found"))
    memory.judged(Candidate("v", size=7), Result("changed"))
    memory.judged(Candidate("v"), ok(10))
    assert (memory.get(Candidate("u", size=3)) or ok(0)).outcome == "not_found"
    assert (memory.get(Candidate("v", size=7)) or ok(0)).outcome == "changed"
    assert (memory.get(Candidate("v")) or Result("")).outcome == "ok"
    assert memory.get(Candidate("v", size=8)) is None and memory.get(Candidate("w")) is None


def test_pictures_are_forgotten_by_bytes_those_not_used_for_longest_first() -> None:
    memory = Memory(100_000)
    for name in "abcde":
        memory.judged(Candidate(name), ok(19_000))
    assert memory.get(Candidate("a")) is not None
    memory.judged(Candidate("f"), ok(19_000))
    assert memory.get(Candidate("b")) is None and memory.get(Candidate("a")) is not None
    memory.judged(Candidate("g"), ok(200_000))  # however large: the newest one is kept
    assert memory.get(Candidate("g")) is not None and memory.get(Candidate("f")) is None


def test_pictures_do_not_push_failures_out() -> None:
    memory = Memory(100_000)
    memory.failed("u", Result("not_found"))
    for number in range(100):
        memory.judged(Candidate(str(number)), ok(10_000))
    assert memory.get(Candidate("u")) is not None
    for number in range(100):
        memory.failed(f"f{number}", Result("timeout"))
    assert memory.get(Candidate("u")) is None


def test_a_failure_told_again_and_again_takes_its_room_once() -> None:
    memory = Memory(20_000)
    for number in range(10):
        memory.failed(f"other {number}", Result("not_found"))
    for _ in range(100):
        memory.failed("u", Result("timeout"))
    assert all(memory.get(Candidate(f"other {number}")) is not None for number in range(10))
