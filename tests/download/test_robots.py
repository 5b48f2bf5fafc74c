import math
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from protego import Protego

from ml_images.download.robots import (
    LEAST_INTERVAL_S,
    MAX_BYTES,
    MOST_INTERVAL_S,
    TTL_S,
    UNREACHABLE_S,
    Robots,
    of_head,
    origin_of,
    product_of,
)
from ml_images.download.url import parse_web_url

ORIGIN = "http://a.example"
FILE = b"""\
User-agent: otherbot
Disallow: /

User-agent: ml-images
Crawl-delay: 2.5
Disallow: /private/
Allow: /private/but/

User-agent: *
Disallow: /
"""


def refusal(robots: Robots, path: str, now: float = 0.0) -> str | None:
    rules = robots.of(ORIGIN, now)
    assert rules is not None
    refused = robots.refusal(rules, ORIGIN + path)
    return refused[0] if refused is not None else None


def learnt(outcome: str, status: int | None = None, body: bytes = b"") -> Robots:
    robots = Robots("ml-images/0.1 (+http://us.example)")
    robots.learn(ORIGIN, outcome, status, body, "", 0.0)
    return robots


def test_an_origin_is_unknown_until_its_file_was_fetched() -> None:
    robots = Robots("ml-images/0.1")
    assert robots.of(ORIGIN, 0.0) is None
    robots.learn(ORIGIN, "ok", 200, b"", "", 0.0)
    assert robots.of(ORIGIN, 0.0) is not None
    assert robots.of("https://a.example", 0.0) is None and robots.of("http://a.example:81", 0.0) is None


def test_our_own_rules_count_and_no_others() -> None:
    robots = learnt("ok", 200, FILE)
    assert refusal(robots, "/open/x.jpg") is None
    assert refusal(robots, "/private/x.jpg") == "robots_disallowed"
    assert refusal(robots, "/private/but/x.jpg") is None


def test_a_wish_for_slowness_is_heard() -> None:
    robots = Robots("ml-images/0.1")
    assert robots.learn(ORIGIN, "ok", 200, FILE, "", 0.0).interval_s == 2.5
    assert robots.learn(ORIGIN, "ok", 200, b"User-agent: *\nRequest-rate: 1/4", "", 0.0).interval_s == 4.0
    assert robots.learn(ORIGIN, "ok", 200, b"User-agent: *\nDisallow: /x", "", 0.0).interval_s is None
    assert robots.learn(ORIGIN, "ok", 200, b"User-agent: *\nRequest-rate: 3/1m", "", 0.0).interval_s == 20.0


def interval_s(*rules: str) -> float | None:
    file = "\n".join(("User-agent: *", *rules)).encode()
    return Robots("ml-images/0.1").learn(ORIGIN, "ok", 200, file, "", 0.0).interval_s


HUGE = "1" + "0" * 400
TINY = "0." + "0" * 400 + "1"


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (f"Request-rate: 1/{HUGE}", MOST_INTERVAL_S),
        (f"Request-rate: 1/{HUGE}d", MOST_INTERVAL_S),
        (f"Request-rate: {HUGE}/1", None),
        (f"Request-rate: {HUGE}/{HUGE}", 1.0),
        (f"Request-rate: 1/{'9' * 5000}", None),
        ("Request-rate: 0/5", None),
        ("Request-rate: 1/0", None),
        ("Request-rate: -1/5", None),
        ("Request-rate: 1/-5", None),
        ("Request-rate: 1/1d", MOST_INTERVAL_S),
        ("Crawl-delay: 1e-310", None),
        (f"Crawl-delay: {TINY}", None),
        ("Crawl-delay: 0.0009", None),
        ("Crawl-delay: 0.001", 0.001),
        ("Crawl-delay: 1e308", MOST_INTERVAL_S),
        (f"Crawl-delay: {HUGE}", None),
        ("Crawl-delay: nan", None),
        ("Crawl-delay: inf", None),
        ("Crawl-delay: -1", None),
        ("Crawl-delay: 0", None),
    ],
)
def test_no_number_asks_for_what_is_no_pace(rule: str, wanted: float | None) -> None:
    assert interval_s(rule) == wanted
    assert interval_s(rule, "Crawl-delay: 7" if "rate" in rule else "Request-rate: 1/7") == max(wanted or 0.0, 7.0)


NUMBERS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.integers(0, 10**500).map(str),
    st.text("0123456789.e+-/_", max_size=9),
)


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "s", "m", "h", "d"]))
@example("0", "1", HUGE, "")
@example("1e-310", "1", "1", "")
def test_any_numbers_give_a_finite_pace_or_none(delay: str, requests: str, seconds: str, unit: str) -> None:
    found = interval_s(f"Crawl-delay: {delay}", f"Request-rate: {requests}/{seconds}{unit}")
    assert found is None or LEAST_INTERVAL_S <= found <= MOST_INTERVAL_S < math.inf


@pytest.mark.parametrize(
    ("outcome", "status", "refused"),
    [
        ("http_error", 404, None),
        ("http_error", 401, None),
        ("http_error", 418, None),
        ("redirect_error", 302, None),
        ("rate_limited", 429, "host_unavailable"),
        ("server_error", 503, "host_unavailable"),
        ("timeout", None, "host_unavailable"),
        ("truncated", 200, "host_unavailable"),
        ("host_unavailable", None, "host_unavailable"),
        ("dns_error", None, "dns_error"),
        ("connect_error", None, "connect_error"),
        ("tls_error", None, "tls_error"),
        ("address_refused", None, "address_refused"),
    ],
)
def test_no_file_allows_all_and_no_answer_nothing(outcome: str, status: int | None, refused: str | None) -> None:
    assert refusal(learnt(outcome, status), "/x.jpg") == refused


def test_files_are_asked_for_again_after_a_day_and_silent_hosts_soon() -> None:
    there, silent = learnt("ok", 200, FILE), learnt("timeout")
    assert there.of(ORIGIN, TTL_S - 1) is not None and there.of(ORIGIN, TTL_S) is None
    assert silent.of(ORIGIN, UNREACHABLE_S - 1) is not None and silent.of(ORIGIN, UNREACHABLE_S) is None


def test_what_comes_after_500_kib_is_not_read() -> None:
    filler = b"#" * (MAX_BYTES - 40) + b"\n"
    late = filler + b" " * 100 + b"\nUser-agent: *\nDisallow: /"
    assert refusal(learnt("ok", 200, late), "/x.jpg") is None
    assert refusal(learnt("ok", 200, b"User-agent: *\nDisallow: /\n" + filler * 2), "/x.jpg") == "robots_disallowed"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize(
    ("left", "cut", "path"), [(b"Disallow: /", b"private", "/x.jpg"), (b"Allow: /secret", b"/but", "/secret.jpg")]
)
def test_the_line_that_the_limit_cuts_does_not_count(end: bytes, left: bytes, cut: bytes, path: str) -> None:
    start = b"User-agent: *" + end + b"Disallow: /secret" + end
    lines = start + b"#" * (MAX_BYTES - len(start + end + left)) + end + left
    assert len(lines) == MAX_BYTES
    if_whole, if_cut = refusal(learnt("ok", 200, lines), path), refusal(learnt("ok", 200, lines + cut + end), path)
    assert {if_whole, if_cut} == {None, "robots_disallowed"}
    assert refusal(learnt("ok", 200, lines + end), path) == if_whole
    assert if_cut == refusal(learnt("ok", 200, start), path)


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbfUser-agent: *\nDisallow: /", b"User-agent: *\r\nDisallow: /\xff\xfe\r\nDisallow: /"]
)
def test_odd_bytes_do_not_hide_rules(body: bytes) -> None:
    assert refusal(learnt("ok", 200, body), "/x.jpg") == "robots_disallowed"


@pytest.mark.parametrize("body", [b"\0" * 100, b"<html><body>Not here</body></html>", b"Disallow: /"])
def test_what_is_no_robots_file_allows_all(body: bytes) -> None:
    assert refusal(learnt("ok", 200, body), "/x.jpg") is None


def test_files_are_forgotten_by_bytes_those_not_used_for_longest_first() -> None:
    robots = Robots("ml-images/1")
    num_kept = (16 << 20) // (100 * 1024)
    file = b"# " + b"x" * (100 * 1024 - 2)
    for _ in range(3):  # the same origin again takes its room once
        robots.learn("http://0.example", "ok", 200, file, "", 0.0)
    for number in range(1, num_kept):
        robots.learn(f"http://{number}.example", "ok", 200, file, "", 0.0)
    assert robots.of("http://0.example", 1.0) is not None
    robots.learn("http://next.example", "ok", 200, file, "", 0.0)
    assert robots.of("http://1.example", 1.0) is None
    assert robots.of("http://0.example", 1.0) is not None and robots.of("http://next.example", 1.0) is not None


def test_origins_and_names() -> None:
    assert origin_of(parse_web_url("http://A.example:81/x?y")) == "http://a.example:81"
    assert origin_of(parse_web_url("https://a.example:443")) == "https://a.example"
    assert product_of("ml-images/0.1 (+http://us.example)") == "ml-images"
    assert product_of("photos") == "photos"
    assert product_of("my_bot.v2 (someone)") == "my_bot.v2"


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, None), (204, None), (404, "http_error"), (429, "rate_limited"), (500, "server_error")]
)
def test_any_successful_answer_is_a_file(status: int, outcome: str | None) -> None:
    assert of_head(status, {"content-type": "text/html"}) == outcome


def test_redirects_are_followed() -> None:
    assert of_head(301, {"location": "/x"}) == "redirect"
    assert of_head(301, {}) == "http_error"


def test_many_agents_over_many_rules_are_judged_at_once() -> None:
    """Each with rules of its own would take minutes and gigabytes."""
    agents = b"".join(b"User-agent: bot%d\n" % number for number in range(15_000))
    rules = b"".join(b"Disallow: /%d/\n" % number for number in range(12_000))
    file = agents + b"User-agent: ML # or ml-images\n" + rules[: MAX_BYTES - len(agents) - 100]
    tracemalloc.start()
    robots = learnt("ok", 200, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal(robots, "/11/x.jpg") == "robots_disallowed"
    assert refusal(robots, "/x.jpg") is None
    assert peak < 60 << 20


@pytest.mark.parametrize(
    ("agent", "is_ours"),
    [
        ("ml-images", True),
        ("ML-Images/2.0", True),  # though Protego takes the version for a part of the name
        ("other/2.0", False),
        ("images", False),
        ("ml*", True),
        ("*", True),
        ("other", False),
        ("some other", False),
        ("imagesbot", False),
    ],
)
@pytest.mark.parametrize("line", ["User-agent: {}", "useragent {}", " User Agent : {} # said so", "USER-AGENT:{}"])
def test_agents_mean_what_they_mean_to_the_parser(line: str, agent: str, is_ours: bool) -> None:
    file = f"User-agent: nobody\n{line.format(agent)}\nDisallow: /a\n\nUser-agent: nobody\nDisallow: /b"
    robots = learnt("ok", 200, file.encode())
    unversioned = Protego.parse(file.replace("/2.0", ""))
    assert unversioned.can_fetch(f"{ORIGIN}/a", "ml-images") != is_ours
    assert (refusal(robots, "/a") == "robots_disallowed") == is_ours
    assert refusal(robots, "/b") is None
