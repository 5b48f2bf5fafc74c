"""When to try a URL again within a run: pure policy, no clock and no sleeping."""

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from random import Random

from ml_images.download.config import FetchConfig
from ml_images.download.header import FIELD_END

# What may be different in a second. dns_error and empty are retryable too, but by the next run: a resolver that is
# overloaded gets worse with every repeated question.
AGAIN = frozenset(("rate_limited", "server_error", "timeout", "connect_error", "truncated"))
_NUMBERS = re.compile(r"[0-9]+(?:[ \t]*,[ \t]*[0-9]+)*")  # several where somebody has joined fields


def next_wait(
    outcome: str, attempt: int, retry_after_s: float | None, left_s: float, cfg: FetchConfig, key: str
) -> float | None:
    """Seconds to wait before the next attempt, or None to leave it at this outcome.

    `attempt` counts those made so far, from 1; `left_s` is the time until the URL's deadline. The wait is drawn from
    0 to backoff_s, twice that after the next attempt, and so on ("full jitter": clients that failed together do not
    come back together), the same for the same key and attempt. A Retry-After is obeyed in full: a host that asks for
    more than is left gets no further request in this run.
    """
    if outcome not in AGAIN or attempt >= cfg.attempts:
        return None
    wait = Random(f"{key} {attempt}").uniform(0.0, cfg.backoff_s * 2 ** (attempt - 1))
    wait = max(wait, retry_after_s or 0.0)
    return wait if wait < left_s else None


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as an HTTP date (RFC 9110, 10.2.3), the most that
    any of several fields does; else None."""
    asked = [_seconds(text.strip(), now) for text in (value or "").split(FIELD_END)]
    return max((one for one in asked if one is not None), default=None)


def _seconds(text: str, now: datetime) -> float | None:
    if _NUMBERS.fullmatch(text):
        return max(float(number.strip()[:9]) for number in text.split(","))
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter from a year or a zone of twenty digits
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max((until - now).total_seconds(), 0.0)
