"""What is going on in a crawl, in numbers that add up over workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ml_images.images.cpu_time import STAGES, CpuTime

OF_THE_MOMENT = ("in_flight", "waiting", "retrying", "decoding")  # of Progress.numbers; they end with their worker
UNDER_WAY = ("in_flight", "retrying", "waiting")  # of a download, as people are told
_CPU = "cpu_ns_"  # of the worker and its decoder, before the name of a stage


@dataclass
class Progress:
    """Counted by `crawl` as it goes. Keys are counted when they are done, requests when they are sent."""

    started: int = 0  # keys
    done: int = 0
    ok: int = 0
    requests: int = 0
    retries: int = 0  # of the requests: another attempt at the same URL
    in_flight: int = 0  # requests under way at this moment
    waiting: int = 0  # URLs that wait at this moment: for a permit, for robots.txt
    retrying: int = 0  # URLs that wait before another attempt at this moment
    decoding: int = 0  # pictures at the decoder at this moment
    cpu: CpuTime = field(default_factory=CpuTime)  # from when this was made, on the same thread

    def count_key(self, outcome: str) -> None:
        self.done += 1
        self.ok += outcome == "ok"

    def numbers(self) -> dict[str, int]:
        """What a moving line needs, small enough to be sent every half second."""
        names = ("started", "done", "ok", "requests", "retries", "in_flight", "waiting", "retrying", "decoding")
        spent = {_CPU + stage: nanoseconds for stage, nanoseconds in self.cpu.spent.items()}
        return {name: getattr(self, name) for name in names} | spent


def milliseconds_by_stage(numbers: Mapping[str, int]) -> dict[str, int]:
    """CPU milliseconds for each stage of images/cpu_time.py, of the sum of all workers' numbers."""
    return {stage: round(numbers.get(_CPU + stage, 0) / 1e6) for stage in STAGES}


def line(numbers: Mapping[str, int], total: int, seconds: float, under_way: Sequence[str] = UNDER_WAY) -> str:
    """One line for people: images a second, share of ok, what is under way and the time that is left."""
    done = numbers.get("done", 0)
    pace = done / seconds if seconds > 0 else 0.0
    left = duration((total - done) / pace) if pace else "?"
    told = [f"{done:,} of {total:,}", f"{pace:,.0f} images/s", f"{numbers.get('ok', 0) / max(done, 1):.1%} ok"]
    told += [f"{numbers.get(name, 0):,} {name.replace('_', ' ')}" for name in under_way]
    return ", ".join([*told, f"{left} left"])


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, the two largest.

    >>> duration(7510)
    '2 h 05 min'
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
