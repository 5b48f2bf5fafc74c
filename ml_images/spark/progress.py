"""One moving line for the Spark tasks that a block of code runs; works with Spark's own UI switched off."""

import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkContext
from tqdm import tqdm

POLL_S = 0.5


class TaskProgress:
    """Context manager: a bar over the tasks of all Spark jobs started inside, from the status tracker."""

    def __init__(self, context: SparkContext, title: str) -> None:
        self._context, self._title = context, title
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "TaskProgress":
        self._context.setJobGroup(self._title, self._title)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        bar = tqdm(desc=self._title, unit="task", file=sys.stderr, disable=None, leave=False)
        with bar, suppress(Py4JError):  # the JVM is gone; the thread that works will tell why
            while not self._stop.wait(POLL_S):
                self._show(bar)

    def _show(self, bar: Any) -> None:
        tracker = self._context.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._title)]
        stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
        known = [stage for stage in stages if stage is not None]
        bar.total = sum(stage.numTasks for stage in known)
        bar.n = sum(stage.numCompletedTasks for stage in known)
        bar.set_postfix(active=sum(stage.numActiveTasks for stage in known), refresh=False)
        bar.refresh()
