"""Which URLs a soak fetches: good pictures and every fault of the sample's server, on several hosts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_images.sample.answers import COPY
from ml_images.sample.encodings import JPEG, make, unavailable_photo
from ml_images.sample.faults import FAULTS, url_path
from ml_images.sample.server import UNAVAILABLE

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
BUSY = "127.0.0.5"  # says "later" so often that it would hold up the others
MAX_REDIRECTS = 5
ATTEMPTS = 3

_PICTURES = 24
_SEED = 7
_SHARE_OF_BUSY = 0.0005  # each costs its host a second and more
_STATUSES = (204, 304, 400, 401, 402, 403, 404, 405, 410, 451, 500, 502, 504)
_LATER = ("busy", "busy_once", "busy=2", "busy_date=1", "pausing=1")
# Not here: what needs the rule for placeholders, which equal pictures under all URLs would trigger, the one that closes
# its host for an hour, and whatever sends a client to another machine.
_LEFT_OUT = ("same", "busy_long", *_LATER)
_DISALLOWED = "disallowed"
_CLOSED = ("stale", "closing", "hanging_up", "reset", "cut_head")
_NO_HTTP = ("ancient", "babble", "negative")
_AGAIN = ("rate_limited", "server_error", "timeout", "connect_error", "truncated")


@dataclass(frozen=True)
class Url:
    url: str
    kind: str  # "" for a good picture

    @property
    def outcome(self) -> str:
        return FAULTS[self.kind].outcome if self.kind else "ok"

    @property
    def most_requests(self) -> int:
        """How often the retry policy lets a worker ask for this very URL.

        What brings no answer, or none of HTTP, over a kept connection is asked for once more over a new one: the host
        may have closed the old one at that moment, or left something on it.
        """
        if self.kind == _DISALLOWED:
            return 0
        if self.kind == "circular":
            return MAX_REDIRECTS + 1
        if self.kind == "ping":
            return MAX_REDIRECTS // 2 + 1
        name = self.kind.partition("=")[0]
        passing = FAULTS[self.kind].outcome == "ok" if self.kind else False
        patient = self.outcome in _AGAIN or (passing and name in ("failing", "failing_once", "busy_untold", *_PASSING))
        attempts = ATTEMPTS if patient or name in _CLOSED else 1
        return 2 * attempts if name in _CLOSED + _NO_HTTP else attempts


_PASSING = tuple(kind.partition("=")[0] for kind in _LATER)


def write_pictures(folder: Path) -> list[str]:
    """Small pictures below `folder`; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNAVAILABLE).write_bytes(unavailable_photo())
    (folder / "robots.txt").write_text(f"User-agent: *\nDisallow: /*/{url_path(_DISALLOWED, '')}\n")
    names = [f"{number}.jpg" for number in range(_PICTURES)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(make(_SEED, number, JPEG).data)
    return names


def plan(count: int, share_of_faults: float, port: int, names: list[str]) -> list[Url]:
    """`count` different URLs, the same for the same arguments."""
    rng = np.random.default_rng(_SEED)
    kinds = [kind for kind, fault in FAULTS.items() if not fault.leaves and not kind.startswith("status=")]
    kinds = [kind for kind in kinds if kind not in _LEFT_OUT] + [f"status={code}" for code in _STATUSES]
    drawn, hosts = rng.random(count), rng.integers(len(ADDRESSES), size=count)
    urls = []
    for number in range(count):
        name, copy = names[number % len(names)], f"{COPY[1:]}{number}"
        host, kind = ADDRESSES[hosts[number]], ""
        if drawn[number] < share_of_faults * _SHARE_OF_BUSY / 0.2:
            host, kind = BUSY, _LATER[number % len(_LATER)]
        elif drawn[number] < share_of_faults:
            kind = kinds[int(rng.integers(len(kinds)))]
        path = f"{copy}/{url_path(kind, name)}" if kind else f"{copy}/{name}"
        urls.append(Url(f"http://{host}:{port}/{path}", kind))
    return urls
