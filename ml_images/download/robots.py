"""What robots.txt says about a URL (RFC 9309), cached for each origin. Who fetches the files is not decided here.

The file is there (2xx): its rules count. It is not (other 4xx): everything is allowed. The host cannot say (5xx, 429,
no answer): nothing is allowed for now, and asked again after UNREACHABLE_S. Where not even a connection to the origin
is possible or allowed, its URLs have that very outcome.
"""

from collections import OrderedDict
from dataclasses import dataclass

from protego import Protego

from ml_images.download.transport import Headers
from ml_images.download.url import WebUrl
from ml_images.download.verdict import REDIRECT, REDIRECTS

MAX_BYTES = 500 * 1024  # of a file that count (RFC 9309, 2.5: at least that many)
MAX_REDIRECTS = 5  # RFC 9309, 2.3.1.2
_MOST_REQUESTS = 10**9  # of a Request-rate; more is no limit
TTL_S = 24 * 3600.0  # RFC 9309, 2.4
UNREACHABLE_S = 300.0
_MOST_ORIGINS = 4096  # some 2 KB each; files of 500 KB are rare
_OF_THE_ORIGIN = frozenset(("dns_error", "connect_error", "tls_error", "address_refused", "bad_url"))


@dataclass(frozen=True)
class Rules:
    until: float
    file: Protego | None = None  # None: all is allowed, or `refused`
    refused: str | None = None  # the outcome of every URL
    detail: str = ""
    interval_s: float | None = None  # between two requests


class Robots:
    """The rules of the origins seen so far, for one user agent. Origins are forgotten, the one not used for longest
    first."""

    def __init__(self, user_agent: str) -> None:
        self.product = product_of(user_agent)
        self._rules: OrderedDict[str, Rules] = OrderedDict()

    def of(self, origin: str, now: float) -> Rules | None:
        """The rules of an origin, None where they have to be fetched first."""
        rules = self._rules.get(origin)
        if rules is None or now >= rules.until:
            return None
        self._rules.move_to_end(origin)
        return rules

    def refusal(self, rules: Rules, url: str) -> tuple[str, str] | None:
        """Outcome and detail of a URL that must not be asked for; None where it may."""
        if rules.refused is not None:
            return rules.refused, f"robots.txt: {rules.detail}"
        if rules.file is None or rules.file.can_fetch(url, self.product):
            return None
        return "robots_disallowed", "robots.txt forbids it"

    def learn(self, origin: str, outcome: str, status: int | None, body: bytes, detail: str, now: float) -> Rules:
        """What the fetch of an origin's robots.txt came to: an outcome, "ok" with the body."""
        rules = self._judged(outcome, status, body, detail, now)
        self._rules[origin] = rules
        while len(self._rules) > _MOST_ORIGINS:
            self._rules.popitem(last=False)
        return rules

    def _judged(self, outcome: str, status: int | None, body: bytes, detail: str, now: float) -> Rules:
        if outcome == "ok":
            file = Protego.parse(body[:MAX_BYTES].decode("utf-8-sig", errors="replace"))
            delay, rate = file.crawl_delay(self.product), file.request_rate(self.product)
            # A number of four hundred digits divides no float.
            spacing = rate.seconds / min(rate.requests, _MOST_REQUESTS) if rate is not None and rate.requests else 0.0
            interval = max(delay or 0.0, spacing)
            return Rules(now + TTL_S, file, interval_s=interval or None)
        if status is not None and 400 <= status < 500 and outcome not in ("rate_limited", "timeout"):
            return Rules(now + TTL_S)
        if outcome == "redirect_error":
            return Rules(now + TTL_S)  # RFC 9309, 2.3.1.2: too many redirects, as if there were no file
        refused = outcome if outcome in _OF_THE_ORIGIN else "host_unavailable"
        return Rules(now + UNREACHABLE_S, refused=refused, detail=detail or outcome)


def product_of(user_agent: str) -> str:
    """The name by which files and headers call us: `ml-images` of `ml-images/0.1 (you@example.org)`."""
    return user_agent.split("/")[0].split()[0]


def origin_of(url: WebUrl) -> str:
    """Scheme, host and port; the robots.txt is at origin + "/robots.txt"."""
    return url.text[: url.text.index("/", len("https://"))]


def of_head(status: int, headers: Headers) -> str | None:
    """As verdict.of_head, for robots.txt: whatever calls itself what, its body counts."""
    if status in REDIRECTS and "location" in headers:
        return REDIRECT
    if 200 <= status < 300:
        return None
    return {408: "timeout", 429: "rate_limited"}.get(status, "server_error" if status >= 500 else "http_error")
