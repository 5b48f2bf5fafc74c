from datetime import datetime, timezone

import pytest

from ml_images.download.keys import Fetched, Job, Keys, endings_of
from ml_images.download.progress import Progress
from ml_images.download.repeated import detail_of
from ml_images.download.results import Result
from ml_images.download.wanted import Candidate, Ending, Wanted

NOW = datetime(2026, 5, 4, tzinfo=timezone.utc)


class Answers:
    """Results by URL; those that are not there come later."""

    def __init__(self, **results: Result) -> None:
        self.results = results
        self.asked: list[str] = []
        self.waiting: list[tuple[Job, Candidate]] = []

    def __call__(self, job: Job, candidate: Candidate) -> Result | None:
        self.asked.append(candidate.url)
        if candidate.url not in self.results:
            self.waiting.append((job, candidate))
        return self.results.get(candidate.url)


def keys(answers: Answers) -> tuple[Keys, Progress]:
    progress = Progress()
    return Keys(answers, progress, lambda: NOW), progress


def want(*urls: str) -> Wanted:
    return Wanted("k", tuple(map(Candidate, urls)))


def only(made: Keys) -> Fetched:
    [one] = made.finished
    return one


def test_a_key_without_candidates_is_finished_at_once() -> None:
    made, progress = keys(Answers())
    made.take_in(want())
    assert (only(made).outcome, only(made).url, only(made).fetched_at) == ("no_url", None, NOW)
    assert progress.started == progress.done == 1 and not progress.ok


def test_the_next_candidate_is_asked_for_when_the_one_before_has_failed() -> None:
    answers = Answers(a=Result("not_found", attempts=2, elapsed_s=0.5), c=Result("ok", attempts=1, elapsed_s=0.25))
    made, progress = keys(answers)
    made.take_in(want("a", "b", "c", "d"))
    assert answers.asked == ["a", "b"] and not made.finished and progress.done == 0
    made.settle(*answers.waiting.pop(), Result("timeout", attempts=3, elapsed_s=1.0))
    one = only(made)
    assert answers.asked == ["a", "b", "c"]
    assert (one.outcome, one.url, one.attempts, one.elapsed_ms) == ("ok", "c", 6, 1750)


@pytest.mark.parametrize(
    ("last", "outcome", "detail"),
    [
        (Result("changed"), "changed", "a is not as expected: 7 bytes, MD5 " + "0a" * 16),
        (Result("not_found"), "not_found", "a is not as expected: 7 bytes, MD5 " + "0a" * 16),
        (Result("redirect_error", "to ''"), "redirect_error", "to ''; a is not as expected: 7 bytes, MD5 " + "0a" * 16),
        (Result("ok"), "ok", "a is not as expected: 7 bytes, MD5 " + "0a" * 16),
    ],
)
def test_a_row_tells_what_was_expected_in_vain(last: Result, outcome: str, detail: str) -> None:
    made, _ = keys(Answers(a=Result("changed"), b=last))
    made.take_in(Wanted("k", (Candidate("a", 7, b"\n" * 16), *([] if outcome == "changed" else [Candidate("b")]))))
    assert (only(made).outcome, only(made).detail) == (outcome, detail)


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        (("not_found", "forbidden"), "forbidden"),
        (("timeout", "forbidden"), "timeout"),
        (("not_found", "timeout", "forbidden"), "timeout"),
        (("timeout", "server_error", "gone"), "server_error"),
    ],
)
def test_the_last_failure_counts_unless_another_deserves_another_run(outcomes: tuple[str, ...], told: str) -> None:
    urls = [f"u{number}" for number in range(len(outcomes))]
    made, _ = keys(Answers(**{url: Result(outcome) for url, outcome in zip(urls, outcomes, strict=True)}))
    made.take_in(want(*urls))
    assert (only(made).outcome, only(made).url) == (told, urls[outcomes.index(told)])


def test_a_key_may_ask_anew_for_the_candidate_that_it_is_at() -> None:
    answers = Answers()
    made, _ = keys(answers)
    made.take_in(want("a", "b"))
    job, _ = answers.waiting.pop()
    made.go_on(job)
    assert answers.asked == ["a", "a"] and not made.finished


def test_milliseconds_fit_into_their_column() -> None:
    made, _ = keys(Answers(a=Result("ok", elapsed_s=1e9)))
    made.take_in(want("a"))
    assert only(made).elapsed_ms == 2**31 - 1


def test_the_row_of_a_placeholder_tells_how_its_urls_ended() -> None:
    """So that nobody asks them again."""
    failed = {"http://h/1": Result("server_error", "status 503"), "http://h/12": Result("not_found")}
    made, _ = keys(Answers(**failed, **{"http://h/3": Result("ok", attempts=1, elapsed_s=0.5)}))
    made.take_in(want("http://h/1", "http://h/12", "http://h/3", "http://h/4"))
    row = only(made)
    assert row.detail == "http://h/1 ended as server_error (status 503); http://h/12 ended as not_found"
    detail = f"{detail_of(10)}; {row.detail}"
    urls = ["http://h/12", "http://h/1", "http://h/2", "http://h/3", "http://h/4"]
    assert endings_of("http://h/3", detail, 1, 0.5, urls) == (
        Ending("http://h/3", "placeholder", detail_of(10), 1, 0.5),
        Ending("http://h/12", "not_found", ""),
        Ending("http://h/1", "server_error", "status 503"),
    )
