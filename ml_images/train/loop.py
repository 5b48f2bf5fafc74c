"""The training loop: batches in, a trained model and its checkpoints out. Knows no Horovod, no Petastorm, no files.

All ranks take the same decisions at the same step: what one of them saw (a loss that is no number, a request to stop)
travels in the sum that every step makes anyway.
"""

import itertools
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
from ml_images.train.comm import Comm, average_buffers, ranks_that_differ
from ml_images.train.data import Batch
from ml_images.train.evaluation import Evaluation
from ml_images.train.transforms import normalise


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
    """Loss or weights are no numbers any more, or ranks hold different weights; the last checkpoint is good."""


class Journal(Protocol):
    """Who writes down what happens; only rank 0's does."""

    def step(self, step: int, epoch: int, loss: float, lr: float) -> None:
        """A step is done; `step` counts from 1 over the run, `epoch` from 0, `loss` is the mean over ranks."""

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        """An epoch is done."""

    def save(self, position: Position, score: float | None) -> None:
        """All ranks hold the same state: keep it."""


class SilentJournal:
    """What the other ranks get."""

    def step(self, step: int, epoch: int, loss: float, lr: float) -> None:
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
    batches: Callable[[int, int], Iterable[Batch]]  # epoch, batches to skip -> this rank's batches
    evaluate: Callable[[], Evaluation | None]
    lr_at: Callable[[int], float]
    device: torch.device


def fit(
    task: Task, config: LoopConfig, start: Position, comm: Comm, journal: Journal, stop: Callable[[], bool]
) -> Position:
    """Train from `start` to the end of the last epoch; stops before, with a checkpoint, once `stop()` is true anywhere.

    Returns where it stopped. Raises Diverged on every rank at the same step.
    """
    task.model.train()
    for epoch in range(start.epoch, config.epochs):
        skip = start.step_in_epoch if epoch == start.epoch else 0
        began, loss_sum = time.monotonic(), 0.0
        batches = itertools.islice(task.batches(epoch, skip), start.steps_per_epoch - skip)
        position = Position(epoch, skip, start.steps_per_epoch, comm.size)
        for batch in batches:
            lr = task.lr_at(position.step)
            loss, stopping = train_step(task, batch, lr, position.step, comm, stop())
            position = Position(epoch, position.step_in_epoch + 1, start.steps_per_epoch, comm.size)
            loss_sum += loss
            journal.step(position.step, epoch, loss, lr)
            if stopping:
                _save(task, position, None, comm, journal)
                return position
            due = config.checkpoint_every_steps and position.step % config.checkpoint_every_steps == 0
            if due and position.step_in_epoch < start.steps_per_epoch:
                _save(task, position, None, comm, journal)
        steps = position.step_in_epoch - skip
        if position.step_in_epoch < start.steps_per_epoch:
            raise RuntimeError(f"rank {comm.rank} ran out of batches at step {position.step}; the plan promised more")
        elapsed_s = time.monotonic() - began
        record = {
            "epoch": epoch + 1,
            "step": position.step,
            "loss": loss_sum / max(1, steps),
            "elapsed_s": elapsed_s,
            "steps": steps,
        }
        _finish_epoch(task, config, epoch, start.steps_per_epoch, record, comm, journal)
    return Position(config.epochs, 0, start.steps_per_epoch, comm.size)


def train_step(task: Task, batch: Batch, lr: float, step: int, comm: Comm, stop: bool) -> tuple[float, bool]:
    """One step of SGD: (loss as the mean over ranks, whether any rank wants to stop).

    A loss that is not finite stops all ranks before it reaches the weights.
    """
    for group in task.optimizer.param_groups:
        group["lr"] = lr
    task.optimizer.zero_grad()
    loss = task.loss(task.model(normalise(batch.images.to(task.device))), batch.targets.to(task.device))
    value = float(loss.detach())
    seen = torch.zeros(2 + comm.size, dtype=torch.float64)  # sum of losses, wishes to stop, one flag for each rank
    finite = math.isfinite(value)
    seen[0], seen[1], seen[2 + comm.rank] = value if finite else 0.0, stop, not finite
    seen = comm.sum(seen, "step")
    bad_ranks = [rank for rank in range(comm.size) if seen[2 + rank]]
    if bad_ranks:
        raise Diverged(
            f"the loss is not finite at step {step + 1} on rank {', '.join(map(str, bad_ranks))}: the run stops, its "
            "last checkpoint is kept; a smaller optim.lr or a longer schedule.warmup_epochs usually helps"
        )
    loss.backward()
    task.optimizer.step()
    return float(seen[0]) / comm.size, bool(seen[1])


def _finish_epoch(
    task: Task,
    config: LoopConfig,
    epoch: int,
    steps_per_epoch: int,
    record: dict[str, Any],
    comm: Comm,
    journal: Journal,
) -> None:
    """Evaluate when it is due, keep a checkpoint and write the epoch down."""
    _agree(task.model, comm, record["step"])
    due = (epoch + 1) % config.eval_every_epochs == 0 or epoch + 1 == config.epochs
    evaluation = task.evaluate() if due else None
    score = (
        None
        if evaluation is None or math.isnan(evaluation.mean_average_precision)
        else evaluation.mean_average_precision
    )
    journal.epoch(record, evaluation)
    journal.save(Position(epoch + 1, 0, steps_per_epoch, comm.size), score)


def _save(task: Task, position: Position, score: float | None, comm: Comm, journal: Journal) -> None:
    _agree(task.model, comm, position.step)
    journal.save(position, score)


def _agree(model: nn.Module, comm: Comm, step: int) -> None:
    """Make all ranks hold one and the same, finite model, or raise Diverged on all of them."""
    average_buffers(model, comm)
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    count = int(comm.sum(torch.tensor([len(broken)]), "not_finite"))
    if count:
        first = f", on this rank first '{broken[0]}'" if broken else ""
        raise Diverged(
            f"weights are not finite after step {step}{first}: the last checkpoint is kept; try a smaller optim.lr"
        )
    differing = ranks_that_differ(model, comm)
    if differing:
        raise Diverged(
            f"after step {step} the weights of rank {', '.join(map(str, differing))} differ from those of rank 0"
        )
