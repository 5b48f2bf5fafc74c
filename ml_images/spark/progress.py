"""One moving line for the Spark tasks that a block of code runs; works with Spark's own UI switched off."""

import sys
import threading
from types import TracebackType

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
        if isinstance(error, KeyboardInterrupt):
            self._context.cancelJobGroup(self._title)
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        tracker = self._context.statusTracker()
        with tqdm(desc=self._title, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
            while not self._stop.wait(POLL_S):
                jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._title)]
                stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
                known = [stage for stage in stages if stage is not None]
                bar.total = sum(stage.numTasks for stage in known)
                bar.n = sum(stage.numCompletedTasks for stage in known)
                bar.set_postfix(active=sum(stage.numActiveTasks for stage in known), refresh=False)
                bar.refresh()
