"""Faults of time and of the connection: drips, silence, resets, closings, and heads that are none."""

import math
from collections.abc import Callable, Iterator, Mapping

from ml_images.sample.answers import JPEG, Answer, Asked, End, Step, head, refusal

_DRIP_S = 0.5
_DRIP_BYTES = 10_000_000  # promised at 4 bytes a period: two weeks
_PIECES = 20
_SETTLE_S = 0.05  # a reset overtakes what was sent just before it
_ENDLESS = b"".join(b"X-More-%d: %b\r\n" % (number, b"x" * 100) for number in range(500))


def dripping(asked: Asked) -> Iterator[Step]:
    yield head(200, _DRIP_BYTES, JPEG)
    piece = b"\xff\xd8\xff\xe0"
    while True:
        yield piece
        yield _DRIP_S
        piece = bytes(4)


def dripping_head(asked: Asked) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-Drop: 1\r\n"
        yield _DRIP_S


def silent(asked: Asked) -> Iterator[Step]:
    yield math.inf


def mute(asked: Asked) -> Iterator[Step]:
    yield head(200, _DRIP_BYTES, JPEG)
    yield math.inf


def slow(asked: Asked) -> Iterator[Step]:
    yield asked.number(500) / 1000
    yield asked.sent()


def trickle(asked: Asked) -> Iterator[Step]:
    answer = asked.sent()
    size = len(answer) // _PIECES + 1
    for start in range(0, len(answer), size):
        yield answer[start : start + size]
        yield asked.number(500) / 1000 / _PIECES


def hanging_up(asked: Asked) -> Iterator[Step]:
    yield End.CLOSE


def reset(asked: Asked) -> Iterator[Step]:
    yield End.RESET


def cut_head(asked: Asked) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: ima"
    yield End.CLOSE


def reset_body(asked: Asked) -> Iterator[Step]:
    answer = asked.sent()
    yield answer[: len(answer) // 2]
    yield _SETTLE_S
    yield End.RESET


def closing(asked: Asked) -> Iterator[Step]:
    """HTTP/1.1 with a length and no Connection field: the client takes the connection for reusable."""
    yield asked.sent()
    if asked.earlier + 1 >= asked.number(1):
        yield End.CLOSE


def stale(asked: Asked) -> Iterator[Step]:
    yield asked.sent() if asked.earlier == 0 else End.CLOSE


def interim(asked: Asked) -> bytes:
    return head(100, None, None) + head(103, None, None, Link="</style.css>; rel=preload") + asked.sent()


def endless_head(asked: Asked) -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield _ENDLESS


def old(asked: Asked) -> Iterator[Step]:
    if asked.picture is None:
        yield refusal(404)
    else:
        yield head(200, None, asked.picture.content_type, version="1.0") + asked.picture.data
        yield End.CLOSE


def ancient(asked: Asked) -> Iterator[Step]:
    yield asked.picture.data if asked.picture else b"nothing"
    yield End.CLOSE


def babble(asked: Asked) -> Iterator[Step]:
    yield b"HTTP/1.1 fine thanks\r\nContent-Length: 0\r\n\r\n"
    yield End.CLOSE


BEHAVIOURS: Mapping[str, Callable[[Asked], Answer]] = {
    "dripping": dripping,
    "dripping_head": dripping_head,
    "silent": silent,
    "mute": mute,
    "slow": slow,
    "trickle": trickle,
    "hanging_up": hanging_up,
    "reset": reset,
    "cut_head": cut_head,
    "reset_body": reset_body,
    "closing": closing,
    "stale": stale,
    "interim": interim,
    "long_head": lambda asked: asked.sent(X_Long="x" * 16_000),
    "huge_head": lambda asked: asked.sent(X_Huge="x" * 2_000_000),
    "endless_head": endless_head,
    "old": old,
    "ancient": ancient,
    "babble": babble,
}
