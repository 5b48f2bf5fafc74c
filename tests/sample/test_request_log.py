from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.sample.request_log import Log, Recorder

MOMENTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=30)


def log_of(spans: list[tuple[int, int]]) -> Log:
    """Requests and connections of one host, in eighths of a second, which floats hold exactly: (start, length)."""
    start, length = np.array(spans, np.float64).reshape(-1, 2).T / 8
    zeros = np.zeros(len(start), np.int32)
    return Log(("a",), ("/",), zeros, zeros, start, start + length, zeros, start, start + length)


@given(MOMENTS)
def test_the_busiest_second_is_the_one_that_a_slow_search_finds(spans: list[tuple[int, int]]) -> None:
    starts = [start for start, _ in spans]
    slow = max((sum(first <= start < first + 8 for start in starts) for first in starts), default=0)
    assert log_of([(start, 0) for start in starts]).most_in_a_second("a") == slow


@given(MOMENTS)
def test_the_most_at_once_are_those_that_a_slow_search_finds(spans: list[tuple[int, int]]) -> None:
    spans = [(start, length) for start, length in spans if length]
    slow = max((sum(s <= moment < s + length for s, length in spans) for moment in range(50)), default=0)
    assert log_of(spans).most_under_way("a") == log_of(spans).most_connections("a") == slow


def test_requests_and_connections_are_kept_apart_by_host() -> None:
    recorder = Recorder()
    first, second = recorder.opened("a", 1.0), recorder.opened("b", 2.0)
    assert recorder.asked("a", "/x") == (0, 1)
    assert recorder.asked("a", "/x") == (1, 2)
    assert recorder.asked("b", "/x") == (2, 3)
    assert recorder.asked("b", "/y") == (3, 1)
    recorder.done(0)
    recorder.closed(second)
    log = recorder.log()
    assert log.counts() == Counter({("a", "/x"): 2, ("b", "/x"): 1, ("b", "/y"): 1})
    assert recorder.requests() == {"/x": 3, "/y": 1}
    assert np.isinf(log.done).tolist() == [False, True, True, True]
    assert np.isinf(log.closed).tolist() == [True, False]
    assert (log.most_under_way("b"), log.most_connections("a"), log.most_connections("c")) == (2, 1, 0)
    assert len(log.times("b")) == 2
    assert len(log.times("b", "/y")) == 1
    assert first == 0


def test_a_log_survives_json() -> None:
    recorder = Recorder()
    recorder.opened("a", 1.0)
    recorder.asked("a", "/é")
    log = recorder.log()
    again = Log.from_json(log.to_json())
    for name, value in vars(log).items():
        read = getattr(again, name)
        assert read == value if isinstance(value, tuple) else (read == value).all() and read.dtype == value.dtype
