"""How far the Spark tasks of a block of code are: a moving line on a terminal, a plain one now and then elsewhere."""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from py4j.protocol import Py4JError
from pyspark import SparkContext
from tqdm import tqdm

POLL_S = 0.5
PLAIN_LINE_S = 10.0  # where lines pile up, in a log or a file


class TaskProgress:
    """Context manager: shows the tasks of all Spark jobs started inside; works with Spark's own UI switched off."""

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
        with suppress(Py4JError):  # the JVM is gone; the thread that works will tell why
            if on_terminal():
                self._move_a_bar()
            else:
                self._print_lines()

    def _move_a_bar(self) -> None:
        with tqdm(desc=self._title, unit="task", file=sys.stderr, disable=False, leave=False) as bar:
            while not self._stop.wait(POLL_S):
                bar.n, bar.total, active = self._tasks()
                bar.set_postfix(active=active, refresh=False)
                bar.refresh()

    def _print_lines(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(PLAIN_LINE_S):
            done, total, active = self._tasks()
            seconds = time.monotonic() - started
            print(
                f"{self._title}: {done} of {total} tasks, {active} active, {seconds:.0f} s", file=sys.stderr, flush=True
            )

    def _tasks(self) -> tuple[int, int, int]:
        """Completed, known and active tasks of our job group."""
        tracker = self._context.statusTracker()
        done = total = active = 0
        for number in tracker.getJobIdsForGroup(self._title):
            job = tracker.getJobInfo(number)
            for stage in map(tracker.getStageInfo, job.stageIds if job is not None else ()):
                if stage is None or job is None:
                    continue
                done += stage.numCompletedTasks
                active += stage.numActiveTasks
                # A finished job may have skipped stages, whose shuffle was there already: nobody waits for those.
                total += stage.numTasks if job.status == "RUNNING" else stage.numCompletedTasks
        return done, total, active


def on_terminal() -> bool:
    """Does a person watch? Under spark-submit stderr is a pipe to the JVM, our parent, and comes out of its stdout."""
    if sys.stderr.isatty():
        return True
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return False
    try:
        return str(Path(f"/proc/{os.getppid()}/fd/1").readlink()).startswith("/dev/pts/")
    except OSError:  # no /proc (macOS), or not ours to look at
        return False
