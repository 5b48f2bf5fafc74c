"""Where the CPU time of a download goes: nanoseconds by stage, in numbers that add up over pictures and processes."""

import time
from collections.abc import Mapping

# `fetch` is all that is nothing else: the event loop, verdicts, and handing pictures to the decoder process and back.
STAGES = ("fetch", "decode", "resize", "encode", "hash", "write")


class CpuTime:
    """Of the thread that makes it and marks it. What a thread does is one stage after the other, so it marks where each
    of them ends: one look at a clock (0.5 microseconds) a stage."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STAGES, 0)
        self._marked = time.thread_time_ns()

    def mark(self, stage: str) -> None:
        """What this thread has used since the last mark, it used for `stage`."""
        now = time.thread_time_ns()
        self.spent[stage] += now - self._marked
        self._marked = now

    def add(self, spent: Mapping[str, int]) -> None:
        """Nanoseconds by stage that another process has used."""
        for stage, nanoseconds in spent.items():
            self.spent[stage] += nanoseconds

    def take(self) -> dict[str, int]:
        """Nanoseconds by stage since this was asked last."""
        taken, self.spent = self.spent, dict.fromkeys(STAGES, 0)
        return taken
