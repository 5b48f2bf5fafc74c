from collections import Counter

from ml_images.download.progress import (
    Progress,
    duration,
    line,
    milliseconds_by_stage,
)
from ml_images.images.cpu_time import STAGES


def test_the_line_says_what_there_is_to_know() -> None:
    numbers = {"done": 5000, "ok": 4000, "in_flight": 256, "retrying": 12, "waiting": 1300}
    text = "5,000 of 20,000, 50 images/s, 80.0% ok, 256 in flight, 12 retrying, 1,300 waiting, 5 min 00 s left"
    assert line(numbers, 20_000, 100.0) == text
    assert line({}, 20_000, 0.0).endswith("? left")
    assert line(numbers, 20_000, 100.0, ()) == "5,000 of 20,000, 50 images/s, 80.0% ok, 5 min 00 s left"


def test_durations() -> None:
    assert [duration(s) for s in (0, 59.4, 60, 3599, 3600, 100_000)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "27 h 46 min",
    ]


def test_numbers_are_plain_and_small() -> None:
    counting = Progress()
    counting.count_key("ok")
    counting.count_key("timeout")
    numbers = counting.numbers()
    assert numbers["done"] == 2 and numbers["ok"] == 1 and set(map(type, numbers.values())) == {int}


def test_cpu_time_adds_up_over_workers_and_is_told_in_milliseconds() -> None:
    sums = Counter[str]()
    for nanoseconds in (1_400_000, 2_700_000):
        counting = Progress()
        counting.cpu.add({"decode": nanoseconds, "write": 600_000})
        sums.update(counting.numbers())
    assert milliseconds_by_stage(sums) == dict.fromkeys(STAGES, 0) | {"decode": 4, "write": 1}
    assert milliseconds_by_stage({}) == dict.fromkeys(STAGES, 0)
