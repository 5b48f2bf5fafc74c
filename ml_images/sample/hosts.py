"""What hosts want of machines: robots files, chosen by the first label of the host's name, and opt-out fields.

`robots-disallow.test`, wherever it resolves to this server, has a robots.txt that forbids everything. Hosts of other
names have the file robots.txt of the served folder, or none.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from ml_images.sample.answers import PLAIN, Answer, Asked, Step, head, redirect, refusal, whole

_NOBODY = b"User-agent: *\nDisallow: /\n"
_COMMENT = b"# a line of a very long robots file, as a shop with many products has it\n"


def _file(body: bytes) -> Callable[[], Answer]:
    return lambda: whole(200, body, PLAIN)


def _slow() -> Iterator[Step]:
    body = b"User-agent: *\nDisallow: /private/\n"
    yield head(200, len(body), PLAIN)
    for start in range(0, len(body), 8):
        yield 0.1
        yield body[start : start + 8]


def _silent() -> Iterator[Step]:
    yield inf


@dataclass(frozen=True)
class Host:
    outcome: str  # of a good picture there
    meaning: str
    robots: Callable[[], Answer]


HOSTS: Mapping[str, Host] = {
    "robots-allow": Host("ok", "User-agent: * and an empty Disallow", _file(b"User-agent: *\nDisallow:\n")),
    "robots-disallow": Host("robots_disallowed", "nobody may fetch anything", _file(_NOBODY)),
    "robots-us": Host("robots_disallowed", "ml-images may not", _file(b"User-agent: ml-images\nDisallow: /\n")),
    "robots-others": Host("ok", "another one may not", _file(b"User-agent: otherbot\nDisallow: /\n")),
    "robots-only-us": Host("ok", "nobody but ml-images may", _file(_NOBODY + b"\nUser-agent: ml-images\nAllow: /\n")),
    "robots-part": Host("ok", "a folder is forbidden", _file(b"User-agent: *\nDisallow: /private/\n")),
    "robots-missing": Host("ok", "404", lambda: refusal(404)),
    "robots-forbidden": Host("ok", "403: RFC 9309, 2.3.1.3 lets the crawler go on", lambda: refusal(403)),
    "robots-failing": Host("host_unavailable", "500: RFC 9309, 2.3.1.4 forbids to go on", lambda: refusal(500)),
    "robots-silent": Host("host_unavailable", "never answers", _silent),
    "robots-slow": Host("ok", "half a second for a few lines", _slow),
    "robots-huge": Host(
        "robots_disallowed", "5 MB, of which the first line counts", _file(_NOBODY + _COMMENT * 70_000)
    ),
    "robots-page": Host("ok", "an HTML page", _file(b"<!DOCTYPE html><html><body>Welcome</body></html>\n")),
    "robots-bytes": Host("ok", "no text at all", _file(bytes(range(256)) * 8)),
    "robots-moved": Host("robots_disallowed", "301 to the file", lambda: redirect(301, "/-/robots-disallow.txt")),
}


def robots_of(host: str, path: str) -> Answer | None:
    """The robots file of the host, or the one that another's redirect leads to; None: the folder decides."""
    if path == "/-/robots-disallow.txt":
        return whole(200, _NOBODY, PLAIN)
    kind = HOSTS.get(host.partition(".")[0].partition(":")[0]) if path == "/robots.txt" else None
    return kind.robots() if kind else None


_TAGS = {
    "noai": "noai",
    "noimageai": "noimageai",
    "noindex": "noindex",
    "noai_among": "max-snippet: 20, NoAI",
    "noai_twice": "nofollow\r\nX-Robots-Tag: noai",
    "noai_us": "ml-images: noai",
    "noai_others": "otherbot: noai",
    "nofollow": "nofollow",
}


def _tagged(tag: str) -> Callable[[Asked], bytes]:
    return lambda asked: asked.sent(X_Robots_Tag=tag)


BEHAVIOURS: Mapping[str, Callable[[Asked], Answer]] = {
    **{kind: _tagged(tag) for kind, tag in _TAGS.items()},
    "tdm": lambda asked: asked.sent(tdm_reservation="1"),
    "tdm_free": lambda asked: asked.sent(tdm_reservation="0"),
    "disallowed": lambda asked: asked.sent(),
}
