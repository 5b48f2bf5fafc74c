from datetime import datetime, timedelta, timezone
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.config import FetchConfig
from ml_images.download.retry import AGAIN, next_wait, retry_after_s
from ml_images.outcomes import BY_NAME, RETRYABLE

CFG = FetchConfig(attempts=3, backoff_s=0.5)
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("outcome", sorted(BY_NAME))
def test_only_what_may_change_at_once_is_tried_again(outcome: str) -> None:
    again = next_wait(outcome, 1, None, 60.0, CFG, Random(0)) is not None
    assert again == (outcome in {"rate_limited", "server_error", "timeout", "connect_error", "truncated"})


def test_what_is_tried_again_within_a_run_is_also_retried_by_the_next() -> None:
    assert AGAIN < RETRYABLE


@given(st.integers(1, 2), st.integers())
def test_waits_double_and_spread_by_half(attempt: int, seed: int) -> None:
    wait = next_wait("timeout", attempt, None, 60.0, CFG, Random(seed))
    middle = 0.5 * 2 ** (attempt - 1)
    assert wait is not None and middle / 2 <= wait <= middle * 1.5


def test_attempts_end() -> None:
    assert next_wait("timeout", 2, None, 60.0, CFG, Random(0)) is not None
    assert next_wait("timeout", 3, None, 60.0, CFG, Random(0)) is None


def test_no_wait_reaches_the_deadline() -> None:
    wait = next_wait("timeout", 1, None, 60.0, CFG, Random(0))
    assert wait is not None
    assert next_wait("timeout", 1, None, wait, CFG, Random(0)) is None
    assert next_wait("timeout", 1, None, -1.0, CFG, Random(0)) is None


def test_retry_after_is_obeyed_in_full_or_the_host_is_left_alone() -> None:
    assert next_wait("rate_limited", 1, 7.0, 60.0, CFG, Random(0)) == 7.0
    assert next_wait("rate_limited", 1, 61.0, 60.0, CFG, Random(0)) is None
    short = next_wait("rate_limited", 1, 0.0, 60.0, CFG, Random(0))
    assert short is not None and short >= 0.25  # a host that says "now" still gets our pause


def test_the_same_key_waits_the_same() -> None:
    waits = [next_wait("timeout", 1, None, 60.0, CFG, Random("http://a.example/x")) for _ in range(2)]
    assert waits[0] == waits[1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Mon, 04 May 2026 03:02:31 GMT", 30.0),
        ("Mon, 04 May 2026 03:01:31 GMT", 0.0),
        ("Mon, 04 May 2026 03:02:31 -0000", 30.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("²", None),
        ("Mon, 99 May 2026 03:02:31 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_any_header_is_survived(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**6))
def test_date_and_seconds_mean_the_same(seconds: int) -> None:
    date = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after_s(date, NOW) == retry_after_s(str(seconds), NOW) == seconds
