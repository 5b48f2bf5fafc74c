"""The steps of a training loop, one line of JSON each, and pauses in which other loops have their turn.

After `warm` steps, and then after every `turn` steps, the process stops itself (SIGSTOP) until it is told to go on
(SIGCONT): see training_turns.py. So all loops of a comparison live side by side, and what a busy host does to one turn
it does to the next as well. The time of a pause is nobody's step.
"""

import json
import os
import signal
import time
from pathlib import Path


class StepsLog:
    """To be made just before the first step, by one process of each loop, in its main thread."""

    def __init__(self, path: Path, warm: int, turn: int) -> None:
        self._file = path.open("w", buffering=1)
        self._file.write(json.dumps({"pid": os.getpid()}) + "\n")
        self._warm, self._turn, self._done = warm, turn, 0
        self._began = time.monotonic()

    def done(self, loss: float, waited_s: float = 0.0) -> None:
        """A step is over, of which `waited_s` were spent waiting for its batch."""
        now = time.monotonic()
        self._done += 1
        line = {"step_s": now - self._began, "loss": loss, "waited_s": waited_s, "warm": self._done <= self._warm}
        self._file.write(json.dumps(line) + "\n")
        if self._done >= self._warm and (self._done - self._warm) % self._turn == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        self._began = time.monotonic()
