import math

from ml_images.download.gate import Pool
from ml_images.download.robots import Robots
from ml_images.download.transport import Request, Response
from ml_images.download.url import parse_web_url
from ml_images.download.waiting import Fetch, Waiting


class Open:
    """A gate that lets everybody through."""

    pool: Pool | None = None

    def ask(self, host: str, now: float) -> float:
        return 0.0

    def done(self, host: str, now: float, outcome: str, retry_after_s: float | None) -> None: ...

    def slow_down(self, host: str, interval_s: float) -> None: ...

    def tend(self, now: float) -> None: ...


def fetch(url: str, **values: int) -> Fetch:
    place = parse_web_url(url)
    return Fetch(url, place, place, **values)


def taken(waiting: Waiting, now: float = 0.0) -> list[str]:
    found = []
    while (one := waiting.queues.take(now)) is not None:
        found.append(one[1].here.text)
    return found


def test_a_robots_file_goes_first_and_all_of_its_origin_wait_for_it() -> None:
    robots = Robots("ml-images/1")
    waiting = Waiting(Open(), None, robots, 60.0)
    for number in range(3):
        assert waiting.line_up(fetch(f"http://a.example/{number}"), 0.0) is None
    assert taken(waiting) == ["http://a.example/robots.txt"] and waiting.num_for_robots == len(waiting) == 3
    robots.learn("http://a.example", "ok", 200, b"User-agent: *\nDisallow: /1", "", 0.0)
    refused = [waiting.line_up(one, 0.0) for one in waiting.released("http://a.example")]
    assert [one.outcome if one else None for one in refused] == [None, "robots_disallowed", None]
    assert taken(waiting) == ["http://a.example/0", "http://a.example/2"] and len(waiting) == 0


def test_of_a_content_type_a_row_tells_as_much_as_a_person_reads() -> None:
    request = Request("http://a.example/1", 0.0, lambda status, headers: None)
    answered = Response(request, "not_found", "", 404, {"content-type": "x" * 60_000}, b"", 0.0)
    assert fetch("http://a.example/1").result("not_found", "", answered).content_type == "x" * 200


def test_without_robots_nobody_waits_for_a_file() -> None:
    waiting = Waiting(Open(), None, None, 60.0)
    waiting.line_up(fetch("http://a.example/1"), 0.0)
    assert taken(waiting) == ["http://a.example/1"]


def test_what_has_begun_goes_before_what_only_begins() -> None:
    waiting = Waiting(Open(), None, None, 60.0)
    waiting.line_up(fetch("http://a.example/new"), 0.0)
    waiting.line_up(fetch("http://a.example/redirected", hops=1), 0.0)
    assert taken(waiting) == ["http://a.example/redirected", "http://a.example/new"]


def test_further_attempts_come_at_their_time_in_their_order() -> None:
    waiting = Waiting(Open(), None, None, 60.0)
    for number, until in enumerate((5.0, 3.0, 5.0, 9.0)):
        waiting.put_off(fetch(f"http://a.example/{number}"), until)
    assert waiting.next_wake(may_start=True) == waiting.next_wake(may_start=False) == 3.0
    assert [one.place[-1] for one in waiting.due(2.9)] == []
    assert [one.place[-1] for one in waiting.due(5.0)] == ["1", "0", "2"]
    assert waiting.num_later == len(waiting) == 1 and waiting.next_wake(may_start=True) == 9.0


def test_where_nothing_may_start_only_attempts_wake() -> None:
    class Shut(Open):
        def ask(self, host: str, now: float) -> float:
            return 1.0

    waiting = Waiting(Shut(), None, None, 60.0)
    waiting.line_up(fetch("http://a.example/1"), 0.0)
    assert taken(waiting) == [] and waiting.next_wake(may_start=True) == 1.0
    assert waiting.next_wake(may_start=False) == math.inf
