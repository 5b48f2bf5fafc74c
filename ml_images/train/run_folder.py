"""The folder of one training run: whose it is, what happened in it, and what is reported at the end.

run.json  checkpoints/step-*.safetensors  checkpoints/best.safetensors  history.jsonl  report.json  tensorboard/  _lock
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_images.errors import InputError
from ml_images.storage.lock import locked
from ml_images.storage.tables import LOCK
from ml_images.train import checkpoint

FORMAT = "ml-images training run 1"


class RunFolder:
    """A folder that belongs to one run. Making the object touches nothing; what writes raises StorageError."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._marker = self.path / "run.json"
        self.checkpoints = self.path / "checkpoints"
        self.history = self.path / "history.jsonl"
        self.report = self.path / "report.json"
        self.tensorboard = self.path / "tensorboard"

    def refuse_foreign(self) -> None:
        """InputError unless the folder is new, empty, or made by a run of ours; changes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"output={self.path} is a file, expected a folder")
        if self.path.is_dir() and any(path.name != LOCK for path in self.path.iterdir()) and not self._is_ours():
            raise InputError(
                f"output={self.path} exists and is not a training run of ours (no run.json of '{FORMAT}'); "
                "choose another"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder. Within: no other process gets here; InputError while another one is."""
        self._make()
        with locked(str(self.path)):
            yield

    def claim(self, config: dict[str, Any]) -> None:
        """Make the folder and write down whose it is, with the options of the newest start."""
        self._make()
        write_json(self._marker, {"format": FORMAT, "config": config})

    def _make(self) -> None:
        with checkpoint.storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def _is_ours(self) -> bool:
        try:
            marker = json.loads(self._marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(marker, dict) and marker.get("format") == FORMAT

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
        if existing and existing[-1].name > checkpoint.file_name(start.position):
            raise InputError(f"output={self.path} holds later checkpoints than resume={resume}; choose another output")
        return start

    def forget_after(self, epochs: int) -> None:
        """Drop the records of all but the first `epochs` epochs: the others are about to happen again."""
        if self.history.exists():
            kept = [record for record in self.read_history() if record["epoch"] <= epochs]
            replace_text(self.history, "".join(json.dumps(record) + "\n" for record in kept))

    def record(self, record: dict[str, Any]) -> None:
        """Add one line to the history."""
        with checkpoint.storage_errors(self.history), self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def read_history(self) -> list[dict[str, Any]]:
        """The records, one for each epoch. A last line without its end was torn by a kill: it was never written."""
        if not self.history.exists():
            return []
        lines = self.history.read_bytes().split(b"\n")[:-1]
        try:
            # NaN, which is no JSON, stood in earlier versions where no class could be scored.
            return [json.loads(line, parse_constant=lambda _: None) for line in lines]
        except ValueError as error:
            raise InputError(f"{self.history} is damaged ({error}); move it away to go on without it") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that readers see the old file or the new one."""
    replace_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write `text` beside, flush, move into place."""
    beside = path.with_name(path.name + ".tmp")
    with checkpoint.storage_errors(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
