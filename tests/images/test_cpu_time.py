import time

from ml_images.images.cpu_time import STAGES, CpuTime


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_each_stage_has_what_was_used_up_to_its_mark() -> None:
    started = time.thread_time_ns()
    cpu = CpuTime()
    burn(0.02)
    cpu.mark("decode")
    burn(0.01)
    cpu.mark("encode")
    burn(0.01)
    cpu.mark("decode")
    whole = time.thread_time_ns() - started
    assert cpu.spent["decode"] >= 0.03e9 and 0.01e9 <= cpu.spent["encode"] < 0.02e9
    assert 0 < whole - sum(cpu.spent.values()) < 0.002e9
    assert [stage for stage in STAGES if cpu.spent[stage]] == ["decode", "encode"]


def test_waiting_is_not_counted() -> None:
    cpu = CpuTime()
    time.sleep(0.05)
    cpu.mark("fetch")
    assert cpu.spent["fetch"] < 0.01e9


def test_what_was_taken_is_not_given_again() -> None:
    cpu = CpuTime()
    cpu.add({"write": 5})
    cpu.add({"write": 2, "hash": 1})
    assert cpu.take() == dict.fromkeys(STAGES, 0) | {"write": 7, "hash": 1}
    cpu.add({"hash": 3})
    assert cpu.take() == dict.fromkeys(STAGES, 0) | {"hash": 3}
