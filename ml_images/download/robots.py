"""What robots.txt says about a URL (RFC 9309), cached for each origin. Who fetches the files is not decided here.

The file is there (2xx): its rules count. It is not (other 4xx): everything is allowed. The host cannot say (5xx, 429,
no answer): nothing is allowed for now, and asked again after UNREACHABLE_S. Where not even a connection to the origin
is possible or allowed, its URLs have that very outcome, but not where the file was redirected to another host.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

from protego import Protego

from ml_images.download.config import PRODUCT
from ml_images.download.transport import Headers
from ml_images.download.url import WebUrl
from ml_images.download.verdict import REDIRECT, REDIRECTS

MAX_BYTES = 500 * 1024  # of a file that count, whatever a picture may take (RFC 9309, 2.5: at least that many)
MAX_REDIRECTS = 5  # RFC 9309, 2.3.1.2
TTL_S = 24 * 3600.0  # RFC 9309, 2.4
# Nobody counts a host's requests by the millisecond, and what is slower than one a day ends with the file's validity.
LEAST_INTERVAL_S, MOST_INTERVAL_S = 1e-3, TTL_S
UNREACHABLE_S = 300.0
_AGENT = re.compile(r"\s*(?P<field>user-agent|useragent|user\s+agent)(?:\s*:|\s)(?P<name>.*)", re.IGNORECASE)
_OTHERS = "some other"  # no part of a product, which has no blank
# Of the files that are remembered, some 2 KB each; parsed, a file takes up to 19 times its bytes.
_MOST_ORIGINS, _MOST_BYTES = 4096, 16 << 20
OF_THE_ORIGIN = frozenset(("dns_error", "connect_error", "tls_error", "address_refused", "bad_url"))


@dataclass(frozen=True)
class Rules:
    until: float
    file: Protego | None = None  # None: all is allowed, or `refused`
    refused: str | None = None  # the outcome of every URL
    detail: str = ""
    interval_s: float | None = None  # between two requests
    num_bytes: int = 0  # of the file


class Robots:
    """The rules of the origins seen so far, for one user agent. Origins are forgotten, the one not used for longest
    first."""

    def __init__(self, user_agent: str) -> None:
        self.product = product_of(user_agent)
        self._rules: OrderedDict[str, Rules] = OrderedDict()
        self._num_bytes = 0

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
        before = self._rules.pop(origin, None)
        self._num_bytes += rules.num_bytes - (before.num_bytes if before is not None else 0)
        self._rules[origin] = rules
        while len(self._rules) > _MOST_ORIGINS or (self._num_bytes > _MOST_BYTES and len(self._rules) > 1):
            self._num_bytes -= self._rules.popitem(last=False)[1].num_bytes
        return rules

    def _judged(self, outcome: str, status: int | None, body: bytes, detail: str, now: float) -> Rules:
        if outcome == "ok":
            text = _that_count(body).decode("utf-8-sig", errors="replace")
            file = Protego.parse(_with_few_agents(text, self.product))
            return Rules(now + TTL_S, file, interval_s=self._interval_s(file), num_bytes=len(text))
        if status is not None and 400 <= status < 500 and outcome not in ("rate_limited", "timeout"):
            return Rules(now + TTL_S)
        if outcome == "redirect_error":
            return Rules(now + TTL_S)  # RFC 9309, 2.3.1.2: too many redirects, as if there were no file
        refused = outcome if outcome in OF_THE_ORIGIN else "host_unavailable"
        return Rules(now + UNREACHABLE_S, refused=refused, detail=detail or outcome)

    def _interval_s(self, file: Protego) -> float | None:
        delay, rate = file.crawl_delay(self.product) or 0.0, file.request_rate(self.product)
        if rate is not None and rate.requests > 0:
            # Whole numbers of any length: only a quotient below the limit is sure to fit into a float.
            is_slow = rate.seconds >= int(MOST_INTERVAL_S) * rate.requests
            delay = max(delay, MOST_INTERVAL_S if is_slow else rate.seconds / rate.requests)
        return min(delay, MOST_INTERVAL_S) if delay >= LEAST_INTERVAL_S else None


def product_of(user_agent: str) -> str:
    """The name by which files and headers call us: `ml-images` of `ml-images/0.1 (you@example.org)`."""
    product = PRODUCT.match(user_agent)
    assert product is not None, f"no product in {user_agent!r}"
    return product[0]


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


def _with_few_agents(text: str, product: str) -> str:
    """All others go by one name: Protego keeps the rules of each name apart, and 20,000 names over 10,000 rules, which
    a file of 500 KB may hold, took it six minutes and several GB."""

    def renamed(line: str) -> str:
        found = _AGENT.match(line)
        if found is None:
            return line
        name, _, version = found["name"].partition("#")[0].strip().lower().partition("/")
        kinds = {name, name.replace("*", "")} - {""}
        may_mean_us = name == "*" or not name or any(kind in product.lower() for kind in kinds)
        if may_mean_us and not version:
            return line
        return f"{found['field']}: {name if may_mean_us else _OTHERS}"

    return "\n".join(map(renamed, text.splitlines()))


def _that_count(body: bytes) -> bytes:
    """Whole lines only: of one that is cut, `Allow: /` might be left of what allows next to nothing."""
    if len(body) <= MAX_BYTES:
        return body
    start = body[: MAX_BYTES + 1]
    return start[: max(start.rfind(b"\n"), start.rfind(b"\r")) + 1]
