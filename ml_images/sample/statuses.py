"""Faults that are a status: for ever, or so many times before the picture comes."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

from ml_images.sample.answers import Asked, refusal, whole


def status(asked: Asked) -> bytes:
    """Any status, with the picture where it says success and nothing else where it says redirect."""
    code = asked.number(404)
    if 200 <= code < 300 and code != 204 and asked.picture is not None:
        return whole(code, asked.picture.data, asked.picture.content_type)
    return busy(asked) if code == 429 else refusal(code)


def busy(asked: Asked) -> bytes:
    return refusal(429, Retry_After="1")


def busy_long(asked: Asked) -> bytes:
    return refusal(429, Retry_After="3600")


def busy_date(asked: Asked) -> bytes:
    # Whole seconds are all that a date has: two from now are more than one.
    return refusal(429, Retry_After=format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True))


def _always(code: int) -> Callable[[Asked], bytes]:
    return lambda asked: refusal(code)


def _at_first(refuse: Callable[[Asked], bytes], default: int) -> Callable[[Asked], bytes]:
    """`refuse` as often as the value says, or else `default` times, then the picture."""
    return lambda asked: refuse(asked) if asked.times <= asked.number(default) else asked.sent()


_FOR_EVER = 1 << 62

BEHAVIOURS: Mapping[str, Callable[[Asked], bytes]] = {
    "status": status,
    "missing": _always(404),
    "gone": _always(410),
    "private": _always(403),
    "refusing": _always(406),
    "busy": _at_first(busy, _FOR_EVER),
    "busy_once": _at_first(busy, 1),
    "busy_date": _at_first(busy_date, 1),
    "busy_untold": _at_first(_always(429), 1),
    "busy_long": busy_long,
    "failing": _at_first(_always(503), _FOR_EVER),
    "failing_once": _at_first(_always(500), 1),
    "pausing": _at_first(lambda asked: refusal(503, Retry_After="1"), 1),
}
