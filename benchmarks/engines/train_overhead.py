"""train.py, and behind each of its steps a bare one: forward, loss, backward and the optimizer, of the same model.

    python benchmarks/engines/train_overhead.py STEPS WARM BATCH CLASSES [key=value ...]

A line of JSON for each pair. The bare batch has as many pictures and lies in memory as the model wants it. Reading
ahead costs the steps of train.py alone: each asks for one more batch, which is decoded long before the step ends.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch
from train_ours import train

from ml_images.train.loop import Task
from ml_images.train.targets import from_dense

_LABELS = 10  # of a picture


class Pairs:
    def __init__(self, path: Path, warm: int, batch: int, classes: int, task: Task) -> None:
        self._file, self._warm, self._task = path.open("w", buffering=1), warm, task
        self._images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=task.engine.memory_format)
        told = (torch.rand(batch, classes) < _LABELS / classes).float()
        self._targets = from_dense(told, torch.ones(batch, dtype=torch.bool))
        self._done = 0
        self._began = time.monotonic()

    def done(self, loss: float, waited_s: float) -> None:
        """A step of train.py is over: make a bare one."""
        ours_s = time.monotonic() - self._began
        began = time.monotonic()
        self._bare_step()
        bare_s = time.monotonic() - began
        self._done += 1
        line = {"ours_s": ours_s, "bare_s": bare_s, "waited_s": waited_s, "warm": self._done <= self._warm}
        self._file.write(json.dumps(line) + "\n")
        self._began = time.monotonic()

    def _bare_step(self) -> None:
        state = self._task.state
        state.optimizer.zero_grad()
        with self._task.engine.autocast(self._images.device):
            logits = state.model(self._images)
        loss = state.loss(logits.float(), self._targets)
        loss.backward()
        state.optimizer.step()


if __name__ == "__main__":
    steps, warm, batch, classes, *options = sys.argv[1:]
    make = partial(Pairs, Path(steps), int(warm), int(batch), int(classes))
    train(options, lambda task: make(task).done)
