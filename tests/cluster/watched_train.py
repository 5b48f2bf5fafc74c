"""train.py, each of whose steps is noted: cluster/train.sh starts it in train.py's place.

WATCH_TRAIN: the real one.
WATCH_NOTES: folder of notes, a file for each process, a line of JSON for each step; a step takes WATCH_STEP_S at least.
WATCH_HANG: the rank that never comes back from its third step.
"""

import json
import os
import runpy
import time
from pathlib import Path
from typing import Any

from ml_images import entry
from ml_images.train import loop

whole_step = loop.train_step


class Noting:
    """Batches, whose keys are kept."""

    def __init__(self, feed: Any) -> None:
        self.feed, self.keys = feed, list[str]()

    def take(self, step: int) -> Any:
        batch = self.feed.take(step)
        self.keys += batch.keys
        return batch

    @property
    def skipped(self) -> int:
        return int(self.feed.skipped)


def noted_step(task: Any, feed: Any, position: Any, lr: float, comm: Any, stop: bool) -> Any:
    noting, began = Noting(feed), time.monotonic()
    if position.step == 2 and os.environ.get("WATCH_HANG") == str(comm.rank):
        time.sleep(600)
    result = whole_step(task, noting, position, lr, comm, stop)
    note = {
        "rank": comm.rank,
        "size": comm.size,
        "epoch": position.epoch,
        "place": position.place,
        "step": position.step,
        "lr": lr,
        "keys": noting.keys,
        "at": time.time(),
    }
    with Path(os.environ["WATCH_NOTES"], f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")
    time.sleep(max(0.0, began + float(os.environ["WATCH_STEP_S"]) - time.monotonic()))
    return result


loop.train_step = noted_step
entry.run(runpy.run_path(os.environ["WATCH_TRAIN"])["main"], program="train.py")
