"""The scheduler on a simulated web: virtual time, real policy."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_web import Answer, Web, Worker, one_by_one

from ml_images.download.config import DownloadConfig, FetchConfig, PolitenessConfig
from ml_images.download.crawl import Fetched
from ml_images.download.host_limits import HostLimits
from ml_images.download.transport import RESEND
from ml_images.download.wanted import Candidate, Wanted
from ml_images.images.resize import Shrunk
from ml_images.outcomes import BY_NAME

JPEG = b"\xff\xd8\xff" + bytes(997)
ROBOTS = Answer(404)
PICTURE = Answer(body=JPEG)


class Spoilt:
    outcome, detail = "undecodable", "bad data"


def judge(data: bytes) -> Shrunk | Spoilt:
    return Spoilt() if b"spoilt" in data else Shrunk(data[:10], 4, 3, 8, 6, 0)


def config(**values: object) -> DownloadConfig:
    """FetchConfig and PolitenessConfig fields by name; no limits and no robots unless asked for."""
    politeness = {"requests_per_s": 0.0, "connections": 0, "breaker_failures": 0, "robots": False}
    fetch: dict[str, object] = {}
    rest: dict[str, object] = {}
    for name, value in values.items():
        if name in FetchConfig.__dataclass_fields__:
            fetch[name] = value
        elif name in PolitenessConfig.__dataclass_fields__:
            politeness[name] = value
        else:
            rest[name] = value
    return DownloadConfig(FetchConfig(**fetch), PolitenessConfig(**politeness), **rest)


def want(key: str, *urls: str, **facts: object) -> Wanted:
    return Wanted(key, tuple(Candidate(url, **facts) for url in urls))


def run(
    wanted: Iterable[Wanted],
    answers: dict[str, object] | Callable[[str, int], Answer],
    decode_s: float = 0.0,
    **values: object,
) -> tuple[dict[str, Fetched], Web, Worker]:
    """Answers by URL: an Answer, a list of them by visit (the last one for ever), or a function of both."""

    def given(url: str, visit: int) -> Answer:
        found = answers.get(url, ROBOTS if url.endswith("/robots.txt") else PICTURE)
        if isinstance(found, list):
            found = found[min(visit, len(found)) - 1]
        assert isinstance(found, Answer)
        return found

    cfg = config(**values)
    web = Web(answers if callable(answers) else given)
    worker = Worker(web, wanted, cfg, HostLimits(cfg.politeness), decode_s=decode_s, judge=judge)
    web.run([worker])
    by_key = {one.key: one for one in worker.fetched}
    assert len(by_key) == len(worker.fetched)
    assert not worker.transport.under_way and not worker.decoder.num_pending
    assert all(number == 0 for number in web.open.values())
    return by_key, web, worker


def redirect(to: str, status: int = 302) -> Answer:
    return Answer(status, {"location": to})


def test_a_picture_and_all_that_is_known_about_it() -> None:
    found, web, worker = run([want("k", "http://a.example/1")], {})
    one = found["k"]
    assert (one.outcome, one.url, one.final_url, one.status, one.attempts) == (
        "ok",
        "http://a.example/1",
        "http://a.example/1",
        200,
        1,
    )
    assert one.sha256 == hashlib.sha256(JPEG).digest() and one.original_bytes == 1000
    assert one.content_type == "image/jpeg" and one.elapsed_ms == 100
    assert one.picture is not None and one.picture.data == JPEG[:10]
    assert worker.progress.numbers()["ok"] == worker.progress.started == 1 == len(web.log)


def test_keys_without_a_place() -> None:
    found, web, _ = run([want("none"), want("ftp", "ftp://a.example/1"), want("odd", "no url")], {})
    assert {key: one.outcome for key, one in found.items()} == {"none": "no_url", "ftp": "bad_url", "odd": "bad_url"}
    assert found["none"].url is None and found["ftp"].url == "ftp://a.example/1" and not web.log


@pytest.mark.parametrize(
    ("answer", "outcome", "requests"),
    [
        (Answer(404), "not_found", 1),
        (Answer(403), "forbidden", 1),
        (Answer(500), "server_error", 3),
        (Answer(429), "rate_limited", 3),
        (Answer(429, {"retry-after": "5"}), "rate_limited", 3),
        (Answer(429, {"retry-after": "100000"}), "rate_limited", 1),
        (Answer(503, {"retry-after": "Mon, 04 May 2026 03:02:05 GMT"}), "server_error", 3),
        (Answer(outcome="dns_error"), "dns_error", 1),
        (Answer(outcome="connect_error"), "connect_error", 3),
        (Answer(outcome="address_refused"), "address_refused", 1),
        (Answer(head_s=1e9), "timeout", 1),  # it took all the time there was
        (Answer(body=JPEG, body_s=1e9), "timeout", 1),
        (Answer(200, {"content-type": "text/html"}, b"<html>"), "not_an_image", 1),
        (Answer(200, {}, b"<html>"), "not_an_image", 1),
        (Answer(200, {}, b""), "empty", 1),
        (Answer(200, {}, JPEG + b"spoilt"), "undecodable", 1),
        (Answer(200, {"x-robots-tag": "noai"}, JPEG), "opted_out", 1),
        (redirect("http://a.example/1"), "redirect_error", 6),
        (redirect("ftp://b.example/1"), "redirect_error", 1),
        (redirect("http://b.example/photo_unavailable.png"), "placeholder", 1),
    ],
)
def test_failures_have_names_and_only_what_may_help_is_repeated(answer: Answer, outcome: str, requests: int) -> None:
    found, web, worker = run([want("k", "http://a.example/1")], {"http://a.example/1": answer})
    assert found["k"].outcome == outcome and len(web.log) == requests
    assert found["k"].attempts == (1 if outcome == "redirect_error" else requests)
    assert found["k"].elapsed_ms <= 60_000 and web.now <= 61
    assert (worker.progress.done, worker.progress.ok) == (1, 0)


def test_a_host_that_recovers() -> None:
    found, web, _ = run(
        [want("k", "http://a.example/1")], {"http://a.example/1": [Answer(429, {"retry-after": "7"}), PICTURE]}
    )
    assert found["k"].outcome == "ok" and found["k"].attempts == 2
    assert web.log[1][0] - web.log[0][0] >= 7.1


def test_what_comes_back_to_be_sent_again_needs_a_permit_but_is_no_further_attempt() -> None:
    lost = Answer(outcome=RESEND)
    found, web, _ = run([want("k", "http://a.example/1")], {"http://a.example/1": [lost, PICTURE]}, requests_per_s=1.0)
    assert (found["k"].outcome, found["k"].attempts) == ("ok", 1)
    assert len(web.log) == 2 and web.log[1][0] - web.log[0][0] >= 1.0
    found, web, _ = run([want("k", "http://a.example/1")], {"http://a.example/1": lost})
    assert (found["k"].outcome, found["k"].attempts, len(web.log)) == ("connect_error", 3, 6)


def test_the_deadline_holds_over_redirects_and_attempts() -> None:
    answers = {"http://a.example/1": redirect("/2"), "http://a.example/2": Answer(500, head_s=5.0)}
    found, web, _ = run([want("k", "http://a.example/1")], answers, deadline_s=8.0, attempts=9)
    assert found["k"].outcome == "timeout" and web.now <= 8.5 and found["k"].elapsed_ms <= 8001
    assert found["k"].attempts == 2 and found["k"].final_url == "http://a.example/2"


def test_back_offs_count_against_the_deadline() -> None:
    failing = Answer(outcome="connect_error", head_s=0.1)
    found, web, _ = run(
        [want("k", "http://a.example/1")], lambda url, visit: failing, attempts=50, backoff_s=4.0, deadline_s=30.0
    )
    assert found["k"].outcome == "connect_error" and web.now < 32 and 3 < found["k"].attempts < 50
    assert 1000 * web.log[-1][0] - 300 < found["k"].elapsed_ms <= 30_000


def test_redirects_go_one_hop_at_a_time_each_by_the_rules_of_its_host() -> None:
    answers = {
        "http://a.example/1": redirect("http://b.example/2"),
        "http://b.example/2": redirect("https://joe:word@c.example/3"),
        "https://c.example/robots.txt": Answer(200, {}, b"User-agent: *\nDisallow: /"),
    }
    found, web, _ = run([want("k", "http://a.example/1")], answers, robots=True)
    assert found["k"].outcome == "robots_disallowed" and found["k"].final_url == "https://c.example/3"
    assert [url for _, url in web.log] == [
        "http://a.example/robots.txt",
        "http://a.example/1",
        "http://b.example/robots.txt",
        "http://b.example/2",
        "https://c.example/robots.txt",
    ]


def test_robots_files_are_fetched_once_for_an_origin_and_all_wait_for_them() -> None:
    file = [Answer(503), redirect("/elsewhere.txt")]
    answers = {
        "http://a.example/robots.txt": file,
        "http://a.example/elsewhere.txt": Answer(200, {}, b"User-agent: ml-images\nDisallow: /no"),
    }
    wanted = [
        want(f"{kind}{number}", f"http://a.example/{kind}/{number}") for number in range(50) for kind in ("no", "yes")
    ]
    found, web, _ = run(wanted, answers, robots=True)
    assert {(key[:2], one.outcome) for key, one in found.items()} == {("no", "robots_disallowed"), ("ye", "ok")}
    assert web.visits["http://a.example/robots.txt"] == 2 and web.visits["http://a.example/elsewhere.txt"] == 1
    assert len(web.log) == 53


def test_no_robots_file_to_be_had_means_hands_off() -> None:
    answers = {
        "http://a.example/robots.txt": Answer(500),
        "http://b.example/robots.txt": Answer(outcome="dns_error"),
        "http://c.example/robots.txt": Answer(200, {}, b"User-agent: *\nCrawl-delay: 10"),
    }
    wanted = [want(f"{host}{number}", f"http://{host}.example/{number}") for host in "abc" for number in range(3)]
    found, web, _ = run(wanted, answers, robots=True)
    assert [found[f"{host}0"].outcome for host in "abc"] == ["host_unavailable", "dns_error", "ok"]
    assert found["a2"].attempts == 0 and "robots.txt" in found["a2"].detail
    times = [when for when, url in web.log if url.startswith("http://c.example/") and "robots" not in url]
    assert len(times) == 3 and times[2] - times[1] >= 9.999


@pytest.mark.parametrize("failure", ["tls_error", "dns_error", "address_refused"])
def test_a_robots_file_that_was_moved_to_a_broken_host_says_nothing_about_its_own(failure: str) -> None:
    answers = {
        "http://a.example/robots.txt": redirect("http://b.example/robots.txt"),
        "http://b.example/robots.txt": Answer(outcome=failure),
    }
    found, web, _ = run([want("k", "http://a.example/1")], answers, robots=True)
    assert (found["k"].outcome, found["k"].attempts) == ("host_unavailable", 0)
    assert f"redirected to b.example: {failure}" in found["k"].detail and len(web.log) == 2


def test_candidates_are_tried_in_order_until_one_is_ok() -> None:
    answers = {
        "http://m.example/1": Answer(404),
        "http://o.example/1": Answer(200, {"content-length": "999"}, b"x" * 999),
    }
    wanted = Wanted(
        "k", (Candidate("http://m.example/1"), Candidate("http://o.example/1", size=5), Candidate("http://t.example/1"))
    )
    found, web, _ = run([wanted], answers)
    assert found["k"].outcome == "ok" and found["k"].url == "http://t.example/1" and found["k"].attempts == 3
    assert [url for _, url in web.log] == ["http://m.example/1", "http://o.example/1", "http://t.example/1"]
    found, _, _ = run([wanted], answers | {"http://t.example/1": Answer(403)})
    assert found["k"].outcome == "forbidden"
    assert found["k"].detail == (
        "as simulated; http://m.example/1 ended as not_found (as simulated); "
        "http://o.example/1 is not as expected: 5 bytes"
    )


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (Answer(404), Answer(403), "forbidden"),
        (Answer(429), Answer(404), "rate_limited"),
        (Answer(404), Answer(429), "rate_limited"),
        (Answer(429), Answer(500), "server_error"),
    ],
)
def test_what_deserves_another_run_is_not_hidden_by_what_does_not(first: Answer, second: Answer, outcome: str) -> None:
    answers = {"http://a.example/1": first, "http://b.example/1": second}
    found, _, _ = run([want("k", "http://a.example/1", "http://b.example/1")], answers)
    assert found["k"].outcome == outcome


def test_a_url_is_fetched_once_for_all_its_keys_together_or_late() -> None:
    wanted = [want(f"run{number}", "http://a.example/1") for number in range(300)]
    wanted += [want(f"other{number}", f"http://a.example/x{number}") for number in range(100)]
    wanted += [want(f"late{number}", "http://a.example/1") for number in range(300)]
    wanted += [want(f"fall{number}", "http://a.example/gone", "http://a.example/1") for number in range(3)]
    found, web, _ = run(wanted, {"http://a.example/gone": Answer(404)}, in_flight=2, decode_s=0.5)
    assert len(found) == 703 and {one.outcome for one in found.values()} == {"ok"}
    assert set(web.visits.values()) == {1} and found["fall2"].attempts == 2


def test_of_many_keys_of_one_url_only_so_many_wait_for_it() -> None:
    taken = 0
    when_answered: list[int] = []

    def many() -> Iterable[Wanted]:
        nonlocal taken
        for number in range(20_000):
            taken += 1
            yield want(str(number), "http://a.example/1")
        yield want("other", "http://a.example/2")

    def answers(url: str, visit: int) -> Answer:
        when_answered.append(taken)
        return PICTURE

    found, web, _ = run(many(), answers, in_flight=2, decode_s=0.5)
    assert len(found) == 20_001 and {one.outcome for one in found.values()} == {"ok"}
    assert web.visits == {"http://a.example/1": 1, "http://a.example/2": 1}
    assert when_answered[0] < 10_000


def test_a_url_is_fetched_once_however_its_keys_spell_it() -> None:
    def spellings(path: str) -> list[str]:
        host, upper = "http://a.example", "HTTP://A.EXAMPLE:80"
        return [f"{host}{path}", f"{upper}{path}", f"{host}{path}#top", f"{host}/x/..{path}", f"{host}{path}".strip()]

    together = [
        want(f"together{n}", url) for n, url in enumerate([*spellings("/%C3%A9/1"), "http://a.example/%c3%a9/1"])
    ]
    between = [want(f"between{n}", f"http://a.example/x{n}") for n in range(100)]
    late = [want(f"late{n}", url) for n, url in enumerate(spellings("/é/1"))]
    fall = [want(f"fall{n}", url, "http://a.example/%C3%A9/1") for n, url in enumerate(spellings("/gone"))]
    found, web, _ = run(
        [*together, *between, *late, *fall], {"http://a.example/gone": Answer(404)}, in_flight=2, decode_s=0.5
    )
    assert {one.outcome for one in found.values()} == {"ok"} and len(found) == 116
    assert set(web.visits.values()) == {1} and len(web.log) == 102
    assert found["together1"].url == "HTTP://A.EXAMPLE:80/%C3%A9/1" and found["late4"].url == "http://a.example/é/1"


def test_what_is_expected_of_a_url_is_asked_for_each_key() -> None:
    right, wrong = hashlib.md5(JPEG).digest(), bytes(16)
    url = "http://a.example/1"
    wanted = [
        want("right", url, md5=right, size=1000),
        want("wrong", url, md5=wrong),
        want("size", url, size=9),
        want("any", url),
    ]
    found, web, _ = run(wanted, {}, decode_s=0.5)
    assert {key: one.outcome for key, one in found.items()} == {
        "right": "ok",
        "wrong": "changed",
        "size": "changed",
        "any": "ok",
    }
    assert len(web.log) == 1


def test_what_one_key_did_not_expect_is_no_verdict_for_a_later_one() -> None:
    url = "http://a.example/1"
    announced = Answer(200, {"content-type": "image/jpeg", "content-length": "1000"}, JPEG)
    wanted = [want("size", url, size=9)]
    wanted += [want(f"between{number}", f"http://a.example/x{number}") for number in range(100)]
    wanted += [want("any", url), want("again", url, size=9)]
    found, web, _ = run(wanted, {url: announced}, in_flight=1)
    assert [found[key].outcome for key in ("size", "any", "again")] == ["changed", "ok", "changed"]
    assert web.visits[url] == 2


def test_slow_urls_and_hosts_hold_nobody_back() -> None:
    answers: dict[str, object] = {f"http://slow.example/{number}": Answer(head_s=1e9) for number in range(20)}
    answers |= {f"http://busy.example/{number}": Answer(429, {"retry-after": "30"}) for number in range(20)}
    wanted = [
        want(f"{host}{number}", f"http://{host}.example/{number}") for number in range(20) for host in ("slow", "busy")
    ]
    wanted += [want(f"good{number}", f"http://h{number % 7}.example/{number}") for number in range(1000)]
    found, web, worker = run(wanted, answers, in_flight=64)
    order = [one.key for one in worker.fetched]
    assert all(key.startswith("good") for key in order[:1000])
    assert found["slow3"].outcome == "timeout" and found["busy3"].outcome == "rate_limited"
    good = [when for when, url in web.log if "//h" in url]
    assert max(good) < 5.0


def test_a_hosts_limit_makes_no_url_time_out() -> None:
    wanted = [want(str(number), f"http://a.example/{number}") for number in range(200)]
    found, web, _ = run(wanted, {}, requests_per_s=2.0, deadline_s=10.0)
    assert {one.outcome for one in found.values()} == {"ok"} and web.now > 95
    assert max(one.elapsed_ms for one in found.values()) < 200
    assert web.hosts_busiest_second() == {"a.example": 2}


def test_a_dead_host_is_left_alone_soon() -> None:
    wanted = [want(str(number), f"http://dead.example/{number}") for number in range(2000)]
    wanted += [want(f"good{number}", f"http://good.example/{number}") for number in range(200)]

    def answers(url: str, visit: int) -> Answer:
        return Answer(outcome="connect_error", head_s=1.0) if "dead" in url else PICTURE

    found, web, _ = run(wanted, answers, breaker_failures=10, connections=16, breaker_pause_s=20.0, deadline_s=30.0)
    outcomes = Counter(found[str(number)].outcome for number in range(2000))
    assert set(outcomes) == {"connect_error", "host_unavailable"} and outcomes["connect_error"] < 100
    assert sum("dead" in url for _, url in web.log) < 100 and web.now < 120
    assert {found[f"good{number}"].outcome for number in range(200)} == {"ok"}


def test_a_host_that_wants_a_long_pause_is_left_for_another_run() -> None:
    wanted = [want(str(number), f"http://a.example/{number}") for number in range(100)]
    found, web, _ = run(wanted, lambda url, visit: Answer(429, {"retry-after": "86400"}), in_flight=4, deadline_s=10.0)
    outcomes = Counter(one.outcome for one in found.values())
    assert set(outcomes) == {"rate_limited", "host_unavailable"} and len(web.log) < 20 and web.now < 10


def test_buffers_are_bounded_by_bytes_not_by_rows() -> None:
    big = Answer(body=b"\xff\xd8\xff" + bytes(200_000), body_s=0.1)
    wanted = [want(str(number), f"http://a.example/{number}") for number in range(300)]
    found, _, worker = run(wanted, lambda url, visit: big, buffer_bytes=2_000_000, decode_s=0.05)
    assert {one.outcome for one in found.values()} == {"ok"}
    assert 1_000_000 < worker.decoder.most_pending <= 2_400_000


def test_a_body_larger_than_the_buffer_is_taken_alone() -> None:
    big = Answer(body=b"\xff\xd8\xff" + bytes(200_000))
    found, _, _ = run(
        [want(str(n), f"http://a.example/{n}") for n in range(5)], lambda url, visit: big, buffer_bytes=1000
    )
    assert {one.outcome for one in found.values()} == {"ok"}


def test_a_list_that_never_ends_is_taken_in_as_needed() -> None:
    taken = 0

    def endless() -> Iterable[Wanted]:
        nonlocal taken
        while taken < 100_000:
            taken += 1
            yield want(str(taken), f"http://a.example/{taken}")

    web = Web(lambda url, visit: PICTURE)
    cfg = config(requests_per_s=10.0, in_flight=8)
    worker = Worker(web, endless(), cfg, HostLimits(cfg.politeness), dies_at=5.0)
    web.run([worker])
    assert 20 < len(worker.fetched) < 60 and taken <= len(worker.fetched) + 64 * 8 + 200


FAULTS = (
    PICTURE,
    PICTURE,
    PICTURE,
    Answer(404),
    Answer(429),
    Answer(429, {"retry-after": "3"}),
    Answer(500),
    Answer(503, {"retry-after": "2"}),
    Answer(outcome="connect_error"),
    Answer(outcome="dns_error"),
    Answer(outcome="truncated"),
    Answer(head_s=1e9),
    Answer(200, {"content-type": "text/html"}, b"<html>"),
    Answer(200, {}, b""),
    Answer(200, {}, JPEG + b"spoilt"),
    redirect("http://b.example/0"),
    redirect("/1"),
    redirect("http://c.example/photo_unavailable.png"),
    redirect("nonsense://"),
    Answer(200, {"tdm-reservation": "1"}, JPEG),
)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    num_keys=st.integers(0, 60),
    num_urls=st.integers(1, 40),
    num_workers=st.integers(1, 3),
    in_flight=st.integers(1, 20),
    attempts=st.integers(1, 4),
    rate=st.sampled_from([0.0, 5.0, 50.0]),
    connections=st.sampled_from([0, 1, 3]),
    breaker=st.sampled_from([0, 2, 10]),
    robots=st.booleans(),
    decode_s=st.sampled_from([0.0, 0.3]),
)
def test_every_key_has_exactly_one_result_and_no_url_more_requests_than_allowed(
    seed: int,
    num_keys: int,
    num_urls: int,
    num_workers: int,
    in_flight: int,
    attempts: int,
    rate: float,
    connections: int,
    breaker: int,
    robots: bool,
    decode_s: float,
) -> None:
    rng = Random(seed)
    urls = [f"http://{rng.choice('abcd')}.example/{number}" for number in range(num_urls)] + ["bad url"]
    wanted = []
    for number in range(num_keys):
        size = rng.choice([None, None, None, 1000, 77])
        candidates = [Candidate(rng.choice(urls), size=size) for _ in range(rng.randint(0, 3))]
        wanted.append(Wanted(f"k{number}", tuple(candidates)))
    faults = {(url, visit): rng.choice(FAULTS) for url in urls for visit in range(1, 30)}

    def answers(url: str, visit: int) -> Answer:
        if url.endswith("/robots.txt"):
            return Random(f"{seed} {url}").choice(
                [ROBOTS, ROBOTS, Answer(500), Answer(200, {}, b"User-agent: *\nDisallow: /1")]
            )
        return faults.get((url, visit), PICTURE)

    cfg = config(
        requests_per_s=rate,
        connections=connections,
        breaker_failures=breaker,
        breaker_pause_s=5.0,
        attempts=attempts,
        deadline_s=20.0,
        in_flight=in_flight,
        robots=robots,
    )
    web, limits = Web(answers), HostLimits(cfg.politeness)
    hands = one_by_one(wanted, num_workers)
    workers = [
        Worker(web, hand, cfg, limits, number=number, starts_at=rng.random(), decode_s=decode_s, judge=judge)
        for number, hand in enumerate(hands)
    ]
    web.run(workers)
    for hand, worker in zip(hands, workers, strict=True):
        assert sorted(one.key for one in worker.fetched) == sorted(one.key for one in hand)
        assert {one.outcome for one in worker.fetched} <= set(BY_NAME)
        assert all((one.picture is not None) == (one.outcome == "ok") for one in worker.fetched)
        assert worker.progress.done == worker.progress.started == len(hand)
    # Requests for a URL: its own attempts for each expectation, and as many as redirects lead to it.
    expectations = Counter(candidate.url for candidate in {one for each in wanted for one in each.candidates})
    into = Counter({"http://b.example/0": 10**6} | {f"http://{host}.example/1": 10**6 for host in "abcd"})
    for url, visits in web.visits.items():
        if not url.endswith("/robots.txt"):
            assert visits <= attempts * num_workers * expectations[url] + into[url]
    if connections:
        assert all(number <= connections for number in web.most_open.values())
    if rate:
        assert all(number <= 1.05 * rate for number in web.hosts_busiest_second().values())


def test_workers_that_die_leave_no_limit_broken_and_lose_nothing_for_the_others() -> None:
    cfg = config(requests_per_s=50.0, connections=8)
    web, limits = Web(lambda url, visit: Answer(body=JPEG, head_s=0.13)), HostLimits(cfg.politeness)
    wanted = [want(str(number), f"http://{'ab'[number % 2]}.example/{number}") for number in range(1500)]
    hands = one_by_one(wanted, 6)
    workers = [
        Worker(
            web,
            hand,
            cfg,
            limits,
            number=number,
            starts_at=number * 0.7,
            dies_at=3.0 + number if number % 2 else 1e9,
            skew_s=0.004 * (-1) ** number,
        )
        for number, hand in enumerate(hands)
    ]
    web.run(workers)
    for number in (0, 2, 4):
        assert len(workers[number].fetched) == len(hands[number])
    assert all(most <= 52 for most in web.hosts_busiest_second().values())
    assert all(most <= 8 for most in web.most_open.values())
    assert len({urlsplit(url).hostname for _, url in web.log}) == 2
