"""From a key to its row: its candidates one after the other, until one is ok.

Else its outcome is that of its last candidate, but for one that deserves another run where any does: a mirror's 404
must not hide that the original was rate-limited.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ml_images.download.progress import Progress
from ml_images.download.results import Result
from ml_images.download.wanted import Candidate, Ending, Wanted
from ml_images.images.resize import Shrunk
from ml_images.outcomes import RETRYABLE

# In a row's detail, behind a URL of its key:
ENDED_AS = " ended as "  # and the outcome, of each that another one followed
NOT_AS_EXPECTED = "is not as expected: "  # and Candidate.expectation, which ends the detail


@dataclass(frozen=True)
class Fetched:
    """What a row of `images` says. `attempts` and `elapsed_ms` are of all URLs that the key needed, without the waits
    for permits; an attempt is a request and the redirects that it leads to. Keys that share a URL all tell of it."""

    key: str
    outcome: str
    detail: str
    url: str | None
    final_url: str | None
    status: int | None
    attempts: int
    elapsed_ms: int
    content_type: str | None
    sha256: bytes | None
    original_bytes: int | None
    fetched_at: datetime
    picture: Shrunk | None


@dataclass(eq=False)
class Job:
    """One key."""

    wanted: Wanted
    place: int = 0  # of the candidate that is tried
    attempts: int = 0
    elapsed_s: float = 0.0
    verdict: tuple[Candidate, Result] | None = None  # unless a candidate is better
    failed: list[tuple[Candidate, Result]] = field(default_factory=list)


class Keys:
    """All keys that have been taken in. `ask(job, candidate)` gives the candidate's result, or None where `settle` will
    be told of it later."""

    def __init__(
        self,
        ask: Callable[[Job, Candidate], Result | None],
        progress: Progress,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._ask, self._progress, self._wall_clock = ask, progress, wall_clock
        self.finished: deque[Fetched] = deque()

    def take_in(self, wanted: Wanted) -> None:
        self._progress.started += 1
        self.go_on(Job(wanted))

    def go_on(self, job: Job) -> None:
        """Put the key's candidate on its way, or finish the key."""
        candidates = job.wanted.candidates
        while job.place < len(candidates):
            candidate = candidates[job.place]
            result = self._ask(job, candidate)
            if result is None or self._ends(job, candidate, result):
                return
        if job.verdict is None:
            self._finish(job, None, Result("no_url"))
        else:
            self._finish(job, *job.verdict)

    def settle(self, job: Job, candidate: Candidate, result: Result) -> None:
        """The candidate that the key waits for has come to this."""
        if not self._ends(job, candidate, result):
            self.go_on(job)

    def _ends(self, job: Job, candidate: Candidate, result: Result) -> bool:
        """Note a candidate's result; True where the key is finished by it."""
        job.attempts += result.attempts
        job.elapsed_s += result.elapsed_s
        if result.outcome == "ok":
            self._finish(job, candidate, result)
            return True
        job.place += 1
        job.failed.append((candidate, result))
        if job.verdict is None or result.outcome in RETRYABLE or job.verdict[1].outcome not in RETRYABLE:
            job.verdict = candidate, result
        return False

    def _finish(self, job: Job, candidate: Candidate | None, result: Result) -> None:
        self._progress.count_key(result.outcome)
        told = _told_of(job.failed, candidate)
        self.finished.append(
            Fetched(
                key=job.wanted.key,
                outcome=result.outcome,
                detail="; ".join(filter(None, (result.detail, *told))),
                url=candidate.url if candidate is not None else None,
                final_url=result.final_url,
                status=result.status,
                attempts=job.attempts,
                elapsed_ms=min(round(job.elapsed_s * 1000), 2**31 - 1),
                content_type=result.content_type,
                sha256=result.sha256,
                original_bytes=result.original_bytes,
                fetched_at=self._wall_clock(),
                picture=result.picture,
            )
        )


def endings_of(url: str, detail: str, attempts: int, elapsed_s: float, urls: Iterable[str]) -> tuple[Ending, ...]:
    """What the row of a placeholder tells: of its own `url`, and of the other `urls` of its key that failed, but not of
    what was not as expected."""
    found = [Ending(url, "placeholder", detail.partition("; ")[0], attempts, elapsed_s)]
    for other in urls:
        told = re.search(rf"(?:^|; ){re.escape(other)}{ENDED_AS}(\w+)(?: \((.*?)\))?(?=; |$)", detail)
        if other != url and told is not None:
            found.append(Ending(other, told[1], told[2] or ""))
    return tuple(found)


def _told_of(failed: list[tuple[Candidate, Result]], chosen: Candidate | None) -> list[str]:
    """What a row tells of the URLs that failed beside the `chosen` one: options and lists may be others in a later run,
    and then they get another try."""
    others = [(candidate, result) for candidate, result in failed if candidate is not chosen]
    told = [
        f"{candidate.url}{ENDED_AS}{result.outcome}" + (f" ({result.detail})" if result.detail else "")
        for candidate, result in others
        if result.outcome != "changed"
    ]
    differing = [candidate for candidate, result in failed if result.outcome == "changed"]
    return told + [f"{candidate.url} {NOT_AS_EXPECTED}{candidate.expectation}" for candidate in differing[-1:]]
