"""Saves without an end until it is killed, again and again: what is then in the folder is written down for a test.

Started by itself, so that only one thread is there when it forks. Arguments: a folder, how many are killed. Ends with
code 1, as a run that fails does, while one more save is under way.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.checkpoint_writer import CheckpointWriter

NUMBERS = 1_000_000  # 4 MB: some milliseconds for each of digest, file and flush


def at(step: int) -> Checkpoint:
    """A checkpoint whose weights tell its step."""
    position = Position(step, step, 1 << 30, {"epoch": 0, "place": step})
    return Checkpoint(position, float(step), {}, {"model.weights": torch.full((NUMBERS,), float(step))})


def save_for_ever(folder: Path, step: int) -> None:
    writer = CheckpointWriter(folder, keep=2)
    while True:
        step += 1
        writer.save(at(step))


def kill_while_it_writes(folder: Path, step: int, after_s: float) -> None:
    """Fork, wait until the other process has saved once, then `after_s` more, and kill it at its next saves."""
    process = os.fork()
    if not process:
        save_for_ever(folder, step)
    while checkpoint.list_checkpoints(folder)[-1:] <= [folder / f"step-{step:010d}.safetensors"]:
        time.sleep(0.0005)
    time.sleep(after_s)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def main(folder: Path, kills: int) -> None:
    torch.set_num_threads(1)
    step, seen = 0, []
    for number in range(kills):
        kill_while_it_writes(folder, step, number * 0.003)
        found = checkpoint.latest(folder)
        if found is not None:
            step = found.position.step
            assert torch.equal(found.tensors["model.weights"], at(step).tensors["model.weights"])
        seen.append({"step": step, "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))})
    print(json.dumps(seen))
    CheckpointWriter(folder, keep=2).save(at(step + 1))
    raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
