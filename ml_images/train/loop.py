"""The training loop: batches in, a trained model and its checkpoints out. Knows no Horovod, no Petastorm, no files.

All ranks take the same decisions at the same step: what one of them saw (a loss that is no number, a request to stop)
travels in the sum that every step makes anyway.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.options import option
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm, averaged_buffers, ranks_that_differ
from ml_images.train.evaluation import Evaluation
from ml_images.train.reader import Batch


@dataclass(frozen=True)
class LoopConfig:
    epochs: int = option(60, "passes over the training split")
    eval_every_epochs: int = option(1, "epochs between evaluations; the last epoch is always evaluated")
    checkpoint_every_steps: int = option(
        0, "steps between checkpoints within an epoch; 0: at the end of each epoch only"
    )

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("eval_every_epochs", 1), ("checkpoint_every_steps", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")


class Diverged(Exception):
    """Loss or weights are no numbers any more, or ranks hold different weights; nothing of it was saved."""


class Journal(Protocol):
    """Who writes down what happens; only rank 0's does."""

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        """A step is done; `step` counts from 1 over the run, `epoch` from 0, `loss` is the mean over ranks, `waited_s`
        how long this rank waited for its batch."""

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        """An epoch is done."""

    def save(self, position: Position, score: float | None) -> None:
        """All ranks hold the same state: keep it."""


class SilentJournal:
    """What the other ranks get."""

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        pass

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        pass

    def save(self, position: Position, score: float | None) -> None:
        pass


@dataclass(frozen=True)
class Task:
    """What is trained, on what, against what; the same on every rank but for the batches."""

    model: nn.Module
    optimizer: Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]  # logits, targets -> mean over images
    batches: Callable[[int, int], Iterable[Batch]]  # epoch, place to go on from -> this rank's batches
    inputs: Callable[[Batch, int], tuple[Tensor, Tensor]]  # batch, epoch -> images and targets on the device
    rows_per_step: int  # over all ranks
    evaluate: Callable[[], Evaluation | None]
    lr_at: Callable[[int], float]  # Position.step_of_plan -> learning rate
    skipped: Callable[[], int]  # broken pictures that this rank has left out so far


def fit(
    task: Task, config: LoopConfig, start: Position, comm: Comm, journal: Journal, stop: Callable[[], bool]
) -> Position:
    """Train from `start` to the end of the last epoch; stops before, with a checkpoint, once `stop()` is true anywhere.

    Returns where it stopped. Raises Diverged on every rank at the same step.
    """
    task.model.train()
    position = start
    while position.epoch < config.epochs:
        began, skip, waited_s, skipped = time.monotonic(), position.step_in_epoch, 0.0, task.skipped()
        batches, batch = iter(task.batches(position.epoch, position.place)), None
        for _ in range(position.steps_per_epoch - skip):
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                raise RuntimeError(
                    f"rank {comm.rank} ran out of batches at step {position.step}; the plan promised more"
                )
            waited = time.monotonic() - asked
            waited_s += waited
            lr = task.lr_at(position.step_of_plan)
            loss, stopping = train_step(task, batch, position, lr, comm, stop())
            position = position.after_step(loss, task.rows_per_step)
            journal.step(position.step, position.epoch, loss, lr, waited)
            if stopping:
                _save(task, position, comm, journal)
                return position
            due = config.checkpoint_every_steps and position.step % config.checkpoint_every_steps == 0
            if due and position.step_in_epoch < position.steps_per_epoch:
                _save(task, position, comm, journal)
        del batch, batches  # an evaluation needs their memory
        elapsed_s = time.monotonic() - began
        left_out = comm.sum(torch.tensor([task.skipped() - skipped]), "skipped")
        record = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "loss": position.loss_sum / max(1, position.place),
            "elapsed_s": elapsed_s,  # since the epoch began or was resumed
            "waited_s": waited_s,  # for batches, of that
            "skipped_images": int(left_out),  # on all ranks
            "steps_per_s": (position.step_in_epoch - skip) / max(elapsed_s, 1e-9),
        }
        position = position.next_epoch()
        _finish_epoch(task, config, position, record, comm, journal)
    return position


def train_step(task: Task, batch: Batch, position: Position, lr: float, comm: Comm, stop: bool) -> tuple[float, bool]:
    """One step of SGD from `position`: (loss as the mean over ranks, whether any rank wants to stop).

    A loss that is not finite stops all ranks before it reaches the weights.
    """
    for group in task.optimizer.param_groups:
        group["lr"] = lr
    task.optimizer.zero_grad()
    images, targets = task.inputs(batch, position.epoch)
    loss = task.loss(task.model(images), targets)
    value = float(loss.detach())
    seen = torch.zeros(2 + comm.size, dtype=torch.float64)  # sum of losses, wishes to stop, one flag for each rank
    finite = math.isfinite(value)
    seen[0], seen[1], seen[2 + comm.rank] = value if finite else 0.0, stop, not finite
    seen = comm.sum(seen, "step")
    bad_ranks = [rank for rank in range(comm.size) if seen[2 + rank]]
    if bad_ranks:
        raise Diverged(
            f"the loss is not finite at step {position.step + 1} on rank {', '.join(map(str, bad_ranks))}: the run "
            "stops without saving; a smaller optim.lr or a longer schedule.warmup_epochs usually helps"
        )
    loss.backward()
    task.optimizer.step()
    return float(seen[0]) / comm.size, bool(seen[1])


def _finish_epoch(
    task: Task,
    config: LoopConfig,
    position: Position,
    record: dict[str, Any],
    comm: Comm,
    journal: Journal,
) -> None:
    """At the end of an epoch: evaluate when it is due, write the epoch down and keep a checkpoint."""
    with averaged_buffers(task.model, comm):
        _check(task.model, comm, position.step)
        due = position.epoch % config.eval_every_epochs == 0 or position.epoch == config.epochs
        evaluation = task.evaluate() if due else None
        score = (
            None
            if evaluation is None or math.isnan(evaluation.mean_average_precision)
            else evaluation.mean_average_precision
        )
        journal.epoch(record, evaluation)
        journal.save(position, score)


def _save(task: Task, position: Position, comm: Comm, journal: Journal) -> None:
    with averaged_buffers(task.model, comm):
        _check(task.model, comm, position.step)
        journal.save(position, None)


def _check(model: nn.Module, comm: Comm, step: int) -> None:
    """Raise Diverged on all ranks unless they hold one and the same, finite model."""
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    count = int(comm.sum(torch.tensor([len(broken)]), "not_finite"))
    if count:
        first = f", on this rank first '{broken[0]}'" if broken else ""
        raise Diverged(
            f"weights are not finite after step {step}{first}: the run stops without saving; try a smaller optim.lr"
        )
    differing = ranks_that_differ(model, comm)
    if differing:
        raise Diverged(
            f"after step {step} the weights of rank {', '.join(map(str, differing))} differ from those of rank 0"
        )
