"""train.py itself; the journal that it opens also times the steps, and keeps no checkpoints.

    python benchmarks/engines/train_ours.py STEPS WARM TURN [key=value ...]           or under horovodrun, torchrun

Progress line, TensorBoard, history and report are written as ever.
"""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steps_log import StepsLog

from ml_images.train import session
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm
from ml_images.train.evaluation import Evaluation
from ml_images.train.loop import Journal


class TimedJournal:
    """The journal it stands for; `done(loss, waited_s)` is called behind each step."""

    def __init__(self, journal: Journal, done: Callable[[float, float], None]) -> None:
        self._journal, self._done = journal, done

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        self._journal.step(step, epoch, loss, lr, waited_s)
        self._done(loss, waited_s)

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        self._journal.epoch(record, evaluation)

    def save(self, position: Position, score: float | None) -> None:
        pass  # half a gigabyte, which is not part of a step

    def finish(self) -> None:
        self._journal.finish()


def train(argv: list[str], make_done: Callable[[Any], Callable[[float, float], None]]) -> None:
    """train.py with `argv`; `make_done` gets the loop.Task on rank 0, just before the first step."""
    open_journal = session.open_journal

    def open_timed(job: Any, config: Any, task: Any, inputs: Any, start: Any, comm: Comm, *more: Any) -> Journal:
        journal = open_journal(job, config, task, inputs, start, comm, *more)
        return journal if comm.rank else TimedJournal(journal, make_done(task))

    session.open_journal = open_timed
    sys.argv = ["train.py", *argv]
    runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")


if __name__ == "__main__":
    steps, warm, turn, *options = sys.argv[1:]
    train(options, lambda task: StepsLog(Path(steps), int(warm), int(turn)).done)
