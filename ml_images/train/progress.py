"""One line that tells how far a run is: it moves on a terminal, and is repeated every few seconds elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

REPEAT_S = 5.0  # where the line cannot move: log files, horovodrun
SMOOTHING = 0.1  # weight of the newest step in the running speed


class Progress:
    """Speed and remaining time of a run of `total_steps` steps with `images_per_step` images over all ranks."""

    def __init__(
        self, out: TextIO, total_steps: int, images_per_step: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._clock = out, clock
        self._total_steps, self._images_per_step = total_steps, images_per_step
        self._moves = out.isatty()
        self._step_s: float | None = None
        self._waited: float | None = None  # share of a step
        self._last_step = clock()
        self._last_line = float("-inf")
        self._width = 0

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float, slowest: str) -> None:
        """`step` steps are done, the last one in `epoch` (from 0), which waited `waited_s` for its batch; `slowest` is
        the stage of reading that takes longest."""
        now = self._clock()
        took = now - self._last_step
        self._last_step = now
        self._step_s = took if self._step_s is None else (1 - SMOOTHING) * self._step_s + SMOOTHING * took
        share = min(1.0, waited_s / took) if took > 0 else 0.0
        self._waited = share if self._waited is None else (1 - SMOOTHING) * self._waited + SMOOTHING * share
        if not self._moves and step < self._total_steps and now - self._last_line < REPEAT_S:
            return
        self._last_line = now
        speed = self._images_per_step / self._step_s if self._step_s > 0 else 0.0
        left = (self._total_steps - step) * self._step_s
        self._write(
            f"step {step}/{self._total_steps}  epoch {epoch + 1}  loss {loss:.4f}  lr {lr:.4g}  "
            f"{speed:.1f} images/s  waiting for data {self._waited:.0%} ({slowest})  {_hms(left)} left"
        )

    def note(self, text: str) -> None:
        """A line that stays."""
        self._end_line()
        print(text, file=self._out, flush=True)
        self._last_step = self._clock()  # what happened between two steps is not a step's time

    def _write(self, line: str) -> None:
        if self._moves:
            self._out.write("\r" + line.ljust(self._width))
            self._width = len(line)
            self._out.flush()
        else:
            print(line, file=self._out, flush=True)

    def _end_line(self) -> None:
        if self._width:
            self._out.write("\n")
            self._width = 0


def _hms(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
