"""The training loop: batches in, a trained model and its checkpoints out. Knows no Horovod, no Petastorm, no files.

All ranks take the same decisions at the same step: what one of them saw (a loss that is no number, a request to stop)
travels in the sum that every step makes anyway.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ml_images.options import option
from ml_images.train.agreement import ranks_that_differ
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm
from ml_images.train.engine import EngineConfig
from ml_images.train.evaluation import Evaluation
from ml_images.train.gradients import GradientAverage
from ml_images.train.reader import Batch
from ml_images.train.run_state import RunState
from ml_images.train.targets import Targets


@dataclass(frozen=True)
class LoopConfig:
    epochs: int = option(60, "passes over the training split")
    eval_every_epochs: int = option(1, "epochs between evaluations; the last epoch is always evaluated")
    checkpoint_every_steps: int = option(
        0, "steps between checkpoints within an epoch; 0: at the end of each epoch only"
    )
    compare_every_steps: int = option(
        100, "steps between comparisons of all ranks' weights; 0: at evaluations and checkpoints only"
    )

    def __post_init__(self) -> None:
        least = {"epochs": 1, "eval_every_epochs": 1, "checkpoint_every_steps": 0, "compare_every_steps": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be >= {bound}, got {getattr(self, name)}")


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
        """All ranks hold the same state: keep it as it is now. It may be written later, while training goes on."""

    def finish(self) -> None:
        """Return when all that was to be kept is written."""


class SilentJournal:
    """What the other ranks get."""

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        pass

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        pass

    def save(self, position: Position, score: float | None) -> None:
        pass

    def finish(self) -> None:
        pass


class Reading(Protocol):
    """Where a rank's batches come from, and how far all ranks have come: data.TrainingReader."""

    def batches(self) -> Iterable[Batch]:
        """What is left of the epoch."""

    def next_epoch(self) -> None:
        """Go to the beginning of the next one."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; JSON, the same on every rank. Has `epoch` and `place`."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken."""


@dataclass(frozen=True)
class Task:
    """What is trained, on what, against what; the same on every rank but for the batches."""

    state: RunState
    average: GradientAverage  # of the model's gradients over ranks
    reading: Reading
    inputs: Callable[[Batch, int], tuple[Tensor, Targets]]  # batch, epoch -> images and targets on the device
    rows_per_step: int  # over all ranks, and all batches of a step
    evaluate: Callable[[], Evaluation | None]  # of the model as it is at that moment
    lr_at: Callable[[int], float]  # Position.step_of_plan -> learning rate
    engine: EngineConfig
    mean_decay: float  # what a step leaves of the mean of weights, where one is kept


def _nothing(position: Position) -> None:
    pass


def fit(
    task: Task,
    config: LoopConfig,
    start: Position,
    comm: Comm,
    journal: Journal,
    stop: Callable[[], bool],
    reached: Callable[[Position], None] = _nothing,
) -> Position:
    """Train from `start` to the end of the last epoch; stops before, with a checkpoint, once `stop()` is true anywhere.

    `reached` is called on every rank behind each step and each epoch.

    Returns where it stopped. Raises Diverged on every rank at the same step. Either way nobody leaves before all is
    written that was to be kept: launchers end every rank as soon as one leaves in trouble, rank 0 in the middle of it.
    """
    try:
        end = _train(task, config, start, comm, journal, stop, reached)
    except Diverged:
        _finish(journal, comm)
        raise
    _finish(journal, comm)
    return end


def _finish(journal: Journal, comm: Comm) -> None:
    journal.finish()
    comm.sum(torch.zeros(1), "finish")


def _train(
    task: Task,
    config: LoopConfig,
    start: Position,
    comm: Comm,
    journal: Journal,
    stop: Callable[[], bool],
    reached: Callable[[Position], None],
) -> Position:
    task.state.model.train()
    task.reading.load_state_dict(start.reading)
    position = start
    while position.epoch < config.epochs:
        began, skip = time.monotonic(), position.step_in_epoch
        feed = _Feed(task.reading.batches(), comm.rank)
        for _ in range(position.steps_per_epoch - skip):
            lr, waited_s = task.lr_at(position.step_of_plan), feed.waited_s
            done = train_step(task, feed, position, lr, comm, stop())
            position = position.after_step(done.loss, task.rows_per_step, done.skipped, task.reading.state_dict())
            journal.step(position.step, position.epoch, done.loss, lr, feed.waited_s - waited_s)
            if comm.size > 1 and _is_due(config.compare_every_steps, position):
                _compare(task.state.model, comm, position.step)
            reached(position)
            if done.stopping:
                _save(task.state, position, comm, journal)
                return position
            if _is_due(config.checkpoint_every_steps, position) and position.step_in_epoch < position.steps_per_epoch:
                _save(task.state, position, comm, journal)
        waited_s = feed.waited_s
        del feed  # an evaluation needs the memory of its batches
        elapsed_s = time.monotonic() - began
        record = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "loss": position.loss_sum / max(1, position.place),
            "elapsed_s": elapsed_s,  # since the epoch began or was resumed
            "waited_s": waited_s,  # for batches, of that
            "skipped_images": position.skipped,  # on all ranks, in the whole epoch
            "steps_per_s": (position.step_in_epoch - skip) / max(elapsed_s, 1e-9),
        }
        task.reading.next_epoch()
        position = position.next_epoch(task.reading.state_dict())
        _finish_epoch(task, config, position, record, comm, journal)
        reached(position)
    return position


def _is_due(every_steps: int, position: Position) -> bool:
    return every_steps > 0 and position.step % every_steps == 0


class _Feed:
    """The batches of an epoch one by one, how long this rank has waited for them, and what broken pictures they had."""

    def __init__(self, batches: Iterable[Batch], rank: int) -> None:
        self._batches, self._rank = iter(batches), rank
        self.waited_s = 0.0
        self.skipped = 0

    def take(self, step: int) -> Batch:
        """The next batch, for the step after `step`; the one before may be overwritten."""
        asked = time.monotonic()
        batch = next(self._batches, None)
        self.waited_s += time.monotonic() - asked
        if batch is None:
            raise RuntimeError(f"rank {self._rank} ran out of batches at step {step}; the plan promised more")
        self.skipped += batch.skipped
        return batch


class _Done(NamedTuple):
    """What all ranks know of a step."""

    loss: float  # mean over its batches and ranks
    stopping: bool  # any rank wants to
    skipped: int  # broken pictures, of all ranks


def train_step(task: Task, feed: _Feed, position: Position, lr: float, comm: Comm, stop: bool) -> _Done:
    """One step from `position`. A loss that is not finite stops all ranks before it reaches the weights."""
    state, pieces, skipped = task.state, task.engine.accumulate, feed.skipped
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.zero_grad()
    loss, total = torch.zeros(()), 0.0
    for piece in range(pieces):
        if piece:
            with task.average.paused():
                loss.backward()
        images, targets = task.inputs(feed.take(position.step), position.epoch)
        with task.engine.autocast(images.device):
            logits = state.model(images)
        loss = state.loss(logits.float(), targets) / pieces  # a sum over thousands of classes wants more than 8 bits
        total += float(loss.detach())
    done = _agree(total, stop, feed.skipped - skipped, position, comm)
    loss.backward()
    task.average.wait()
    state.optimizer.step()
    if state.mean:
        state.mean.update(state.model, task.mean_decay)
    return done


def _agree(loss: float, stop: bool, skipped: int, position: Position, comm: Comm) -> _Done:
    """What this rank found of a step, for all of them. Raises Diverged on all where one's loss is not finite."""
    seen = torch.zeros(3 + comm.size, dtype=torch.float64)  # losses, wishes to stop, pictures; one flag for each rank
    finite = math.isfinite(loss)
    seen[0], seen[1], seen[2], seen[3 + comm.rank] = loss if finite else 0.0, stop, skipped, not finite
    seen = comm.sum(seen, "step")
    bad_ranks = [rank for rank in range(comm.size) if seen[3 + rank]]
    if bad_ranks:
        raise Diverged(
            f"the loss is not finite at step {position.step + 1} on rank {', '.join(map(str, bad_ranks))}: the run "
            "stops without saving; a smaller optim.lr or a longer schedule.warmup_epochs usually helps"
        )
    return _Done(float(seen[0]) / comm.size, bool(seen[1]), int(seen[2]))


def _finish_epoch(
    task: Task,
    config: LoopConfig,
    position: Position,
    record: dict[str, Any],
    comm: Comm,
    journal: Journal,
) -> None:
    """At the end of an epoch: evaluate when it is due, write the epoch down and keep a checkpoint."""
    with task.state.averaged(comm):
        _check(task.state.model, comm, position.step)
        due = position.epoch % config.eval_every_epochs == 0 or position.epoch == config.epochs
        evaluation = None
        if due:
            with task.state.best_weights():
                evaluation = task.evaluate()
        if evaluation and (evaluation.not_finite or not math.isfinite(evaluation.loss)):
            raise Diverged(
                f"weights are finite after step {position.step}, but on the validation split the loss is "
                f"{evaluation.loss:g} and {evaluation.not_finite} of {evaluation.rows} images have scores that are not "
                "finite: the run stops without saving; try a smaller optim.lr"
            )
        journal.epoch(record, evaluation)
        journal.save(position, evaluation.mean_average_precision if evaluation else None)


def _save(state: RunState, position: Position, comm: Comm, journal: Journal) -> None:
    with state.averaged(comm):
        _check(state.model, comm, position.step)
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
    _compare(model, comm, step)


def _compare(model: nn.Module, comm: Comm, step: int) -> None:
    """Raise Diverged on all ranks unless their weights are the same, bit by bit."""
    differing = ranks_that_differ(model, comm)
    if differing:
        raise Diverged(
            f"after step {step} the weights of rank {', '.join(map(str, differing))} differ from those of the other "
            "ranks: the run stops; the same command goes on from the last checkpoint, in which all were alike"
        )
