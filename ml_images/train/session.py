"""What one process does in a run: alone, with the ranks that it was started with, or with ranks that come and go."""

import threading
from collections.abc import Callable
from typing import Any

import torch

from ml_images.train.account import open_journal, write_report
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm, RanksLost
from ml_images.train.elastic import ChangingComm, Commit, through_changes
from ml_images.train.inputs import Inputs, read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import Journal, Task, fit
from ml_images.train.rank_0 import said_by_rank_0
from ml_images.train.reader import Stages
from ml_images.train.run_state import RunState
from ml_images.train.start import build, open_run
from ml_images.train.task import make_task


class Session:
    """`config` is the job, resolved; `stop_on` is called when training begins, and what it gives ends the run early."""

    def __init__(
        self, job: TrainJob, config: dict[str, Any], comm: Comm, stop_on: Callable[[], threading.Event]
    ) -> None:
        self._job, self._config, self._comm, self._stop_on = job, config, comm, stop_on
        self._stop: threading.Event | None = None
        self._commit: Commit | None = None
        self._inputs: Inputs | None = None  # these are made with the first ranks, and kept when others come
        self._built: tuple[RunState, torch.device] | None = None
        self._end: Position | None = None

    def run(self) -> Position:
        """Train to the end, which is reported, or until the run is to stop; where it is then.

        Raises Diverged, on every rank, and RanksLost where the run cannot go on without them.
        """
        if isinstance(self._comm, ChangingComm):
            self._commit = Commit(self._job.elastic.commit_every_steps)
            through_changes(self._train, self._comm, self._stopped, self._commit)
        else:
            self._train(self._stopped)
        assert self._end
        return self._end

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def _train(self, stop: Callable[[], bool]) -> bool:
        """Train with the ranks that are there, until `stop()` is true on any of them; whether the run is done."""
        job, comm, stages = self._job, self._comm, Stages()
        inputs = self._inputs = read_inputs(job, comm, self._inputs)
        with said_by_rank_0(comm.rank):
            state, device = self._built = self._built or build(job, inputs, comm)
            task = make_task(job, inputs, state, device, comm, stages)
        try:
            with open_run(job, self._config, inputs, task, comm, self._commit) as (start, told):
                journal = open_journal(job, self._config, task, inputs, start, comm, device, stages, told)
                self._stop = self._stop or self._stop_on()
                try:
                    self._end = self._fit(task, start, journal, stop)
                except RanksLost:
                    journal.finish()
                    raise
                if self._end.epoch < job.epochs:
                    return False
                write_report(job, self._config, inputs, self._end, comm)
                return True
        finally:
            task.average.close()

    def _fit(self, task: Task, start: Position, journal: Journal, stop: Callable[[], bool]) -> Position:
        commit = self._commit
        if commit is None:
            return fit(task, self._job, start, self._comm, journal, stop)
        commit.take(task.state, start)
        end = fit(
            task, self._job, start, self._comm, journal, stop, lambda position: commit.take_if_due(task.state, position)
        )
        commit.take(task.state, end)
        return end
