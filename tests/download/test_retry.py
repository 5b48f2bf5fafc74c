from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.config import FetchConfig
from ml_images.download.retry import AGAIN, next_wait, retry_after_s
from ml_images.outcomes import BY_NAME, RETRYABLE

CFG = FetchConfig(attempts=3, backoff_s=0.5)
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)
URL = "http://a.example/x"


@pytest.mark.parametrize("outcome", sorted(BY_NAME))
def test_only_what_may_change_at_once_is_tried_again(outcome: str) -> None:
    again = next_wait(outcome, 1, None, 60.0, CFG, URL) is not None
    assert again == (outcome in {"rate_limited", "server_error", "timeout", "connect_error", "truncated"})


def test_what_is_tried_again_within_a_run_is_also_retried_by_the_next() -> None:
    assert AGAIN < RETRYABLE


@pytest.mark.parametrize("attempt", [1, 2])
def test_waits_spread_over_all_of_a_window_that_doubles(attempt: int) -> None:
    most = 0.5 * 2 ** (attempt - 1)
    waits = [next_wait("timeout", attempt, None, 60.0, CFG, f"{URL}{number}") or 0.0 for number in range(400)]
    assert all(0 <= wait <= most for wait in waits)
    assert min(waits) < most / 20 and max(waits) > most * 0.95
    assert abs(sum(waits) / len(waits) - most / 2) < most / 10


def test_attempts_end() -> None:
    assert next_wait("timeout", 2, None, 60.0, CFG, URL) is not None
    assert next_wait("timeout", 3, None, 60.0, CFG, URL) is None


def test_no_wait_reaches_the_deadline() -> None:
    wait = next_wait("timeout", 1, None, 60.0, CFG, URL)
    assert wait is not None
    assert next_wait("timeout", 1, None, wait, CFG, URL) is None
    assert next_wait("timeout", 1, None, -1.0, CFG, URL) is None


def test_retry_after_is_obeyed_in_full_or_the_url_is_left() -> None:
    assert next_wait("rate_limited", 1, 7.0, 60.0, CFG, URL) == 7.0
    assert next_wait("rate_limited", 1, 61.0, 60.0, CFG, URL) is None
    assert next_wait("rate_limited", 1, 0.0, 60.0, CFG, URL) == next_wait("rate_limited", 1, None, 60.0, CFG, URL)


def test_the_same_key_and_attempt_wait_the_same_and_others_differ() -> None:
    waits = [next_wait("timeout", attempt, None, 60.0, CFG, key) for attempt in (1, 2) for key in (URL, URL, "other")]
    assert waits[0] == waits[1] and waits[3] == waits[4]
    assert len(set(waits)) == 4


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
        ("5\n7\n6", 7.0),
        ("soon\nMon, 04 May 2026 03:02:31 GMT", 30.0),
        ("5, 7 ,6", 7.0),
        ("5,", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("²", None),
        ("Mon, 99 May 2026 03:02:31 GMT", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 04 May 2026 03:02:31 +99999999999999999999", None),
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
