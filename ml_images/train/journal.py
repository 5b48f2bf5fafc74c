"""What rank 0 writes down while a run goes on: progress line, TensorBoard, history, checkpoints, final report."""

import dataclasses
from typing import Any, Protocol

from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.checkpoint_writer import CheckpointWriter
from ml_images.train.evaluation import Evaluation
from ml_images.train.progress import Progress
from ml_images.train.reader import Stages
from ml_images.train.run_folder import RunFolder
from ml_images.train.run_state import RunState


class ScalarWriter(Protocol):
    """The one method of torch.utils.tensorboard.SummaryWriter that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class RunJournal:
    """The Journal of rank 0; see loop.Journal for the methods."""

    def __init__(
        self,
        folder: RunFolder,
        progress: Progress,
        writer: ScalarWriter,
        state: RunState,
        config: dict[str, Any],
        images_per_step: int,
        keep: int,
        stages: Stages,
        class_names: list[str] | None,
    ) -> None:
        self._folder, self._progress, self._writer = folder, progress, writer
        self._state, self._config, self._class_names = state, config, class_names
        self._images_per_step, self._checkpoints = images_per_step, CheckpointWriter(folder.checkpoints, keep)
        self._stages, self._before = stages, Stages()

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        self._checkpoints.check()
        self._progress.step(step, epoch, loss, lr, waited_s, self._stages.slowest)
        self._draw("train/loss", loss, step)
        self._draw("train/lr", lr, step)

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        record["images_per_s"] = record.pop("steps_per_s") * self._images_per_step
        line = f"epoch {record['epoch']}: training loss {record['loss']:.4f}, {record['images_per_s']:.1f} images/s"
        self._draw("train/images_per_s", record["images_per_s"], record["step"])
        line += self._reading(record)
        if evaluation is not None:
            record["validation"] = dataclasses.asdict(evaluation)
            for name in ("mean_average_precision", "prior", "loss"):
                value: float | None = getattr(evaluation, name)
                if value is not None:
                    self._draw(f"validation/{name}", value, record["step"])
            line += f"; {evaluation}"
        self._folder.record(record)
        self._progress.note(line)

    def save(self, position: Position, score: float | None) -> None:
        found = Checkpoint(position, score, self._config, self._state.tensors(), self._class_names)
        self._checkpoints.save(found)

    def finish(self) -> None:
        self._checkpoints.wait()

    def _reading(self, record: dict[str, Any]) -> str:
        """How long rank 0 waited for data in the epoch, and what its reading threads did."""
        spent = {name: seconds - self._before.seconds[name] for name, seconds in self._stages.seconds.items()}
        self._before = Stages(dict(self._stages.seconds))
        record["reading_s"], skipped = spent, record["skipped_images"]
        share = record["waited_s"] / record["elapsed_s"] if record["elapsed_s"] else 0.0
        slowest = max(spent, key=spent.__getitem__)
        line = f"; waited {record['waited_s']:.1f} s ({share:.0%}) for data, slowest to {slowest}"
        return line + (f"; {skipped} pictures left out" if skipped else "")

    def _draw(self, tag: str, value: float, step: int) -> None:
        with checkpoint.storage_errors(self._folder.tensorboard):
            self._writer.add_scalar(tag, value, step)
