"""The folder of one training run: whose it is, what happened in it, and what is reported at the end.

run.json  checkpoints/step-*.safetensors  checkpoints/best.safetensors  history.jsonl  report.json  tensorboard/
"""

import json
import os
from pathlib import Path
from typing import Any

from ml_images.errors import InputError
from ml_images.train import checkpoint

FORMAT = "ml-images training run 1"


class RunFolder:
    """A folder that belongs to one run. Making the object touches nothing; `claim` does."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.history = self.path / "history.jsonl"
        self.report = self.path / "report.json"
        self.tensorboard = self.path / "tensorboard"

    def claim(self, config: dict[str, Any]) -> None:
        """Make the folder, or go on in one that a run of ours has made; InputError for any other."""
        marker = self.path / "run.json"
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"output={self.path} is a file, expected a folder")
        if self.path.is_dir() and any(self.path.iterdir()) and not marker.exists():
            raise InputError(
                f"output={self.path} exists and is not a training run of ours (no run.json); choose another"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(marker, {"format": FORMAT, "config": config})

    def find_start(self, resume: str) -> checkpoint.Checkpoint | None:
        """The checkpoint to go on from; None for a fresh start.

        `resume` is auto (the newest, if any), never (refuses a folder with checkpoints: nothing is overwritten) or the
        path of a checkpoint (refused while the folder holds later ones).
        """
        existing = checkpoint.list_checkpoints(self.checkpoints)
        if resume == "auto":
            return checkpoint.latest(self.checkpoints)
        if resume == "never":
            if existing:
                raise InputError(
                    f"output={self.path} holds {len(existing)} checkpoints: resume=auto goes on from the last, "
                    "for a new run choose another output"
                )
            return None
        try:
            start = checkpoint.load(Path(resume))
        except checkpoint.Unreadable as error:
            raise InputError(
                f"resume={resume}: {error}; accepted are auto, never or the path of a checkpoint"
            ) from error
        if existing and existing[-1].name > f"step-{start.position.step:010d}.safetensors":
            raise InputError(f"output={self.path} holds later checkpoints than resume={resume}; choose another output")
        return start

    def forget_after(self, step: int) -> None:
        """Drop the records of steps after `step`: they are about to happen again."""
        if self.history.exists():
            records = [json.loads(line) for line in self.history.read_text(encoding="utf-8").splitlines()]
            kept = "".join(json.dumps(record) + "\n" for record in records if record["step"] <= step)
            replace_text(self.history, kept)

    def record(self, record: dict[str, Any]) -> None:
        """Add one line to the history."""
        with self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that readers see the old file or the new one."""
    replace_text(path, json.dumps(value, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write `text` beside, flush, move into place."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
