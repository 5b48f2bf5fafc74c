import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from torch import Tensor, nn

from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.comm import LocalComm
from ml_images.train.ema import WeightMean
from ml_images.train.engine import EngineConfig
from ml_images.train.evaluation import Evaluation
from ml_images.train.loop import Diverged, LoopConfig, Task, fit
from ml_images.train.losses import LossConfig, make_loss
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.reader import Batch, SparseTargets
from ml_images.train.run_state import RunState
from ml_images.train.targets import Targets, from_sparse
from ml_images.train.transforms import normalise

STEPS = 4  # an epoch
PLAIN = EngineConfig()
BCE = make_loss(LossConfig(), 3, LocalComm())


def at(step: int, epoch: int, step_in_epoch: int = 0, steps: int = STEPS, place: int = 0) -> Position:
    return Position(step, step_in_epoch, steps, {"epoch": epoch, "place": place})


FRESH = at(0, 0)


def never() -> bool:
    return False


@dataclass
class Diary:
    """A journal that keeps everything."""

    task: Task
    steps: list[tuple[int, int, float, float]] = field(default_factory=list)
    epochs: list[tuple[dict[str, Any], Evaluation | None]] = field(default_factory=list)
    saved: dict[int, Checkpoint] = field(default_factory=dict)
    finished: int = 0

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        self.steps.append((step, epoch, loss, lr))

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        self.epochs.append((record, evaluation))

    def save(self, position: Position, score: float | None) -> None:
        copies = {name: tensor.clone() for name, tensor in self.task.state.tensors().items()}
        self.saved[position.step] = Checkpoint(position, score, {}, copies)

    def finish(self) -> None:
        self.finished += 1


ROWS = 4  # a step


def batches(epoch: int, place: int) -> Iterable[Batch]:
    """More than an epoch asks for, different in every epoch."""
    for index in range(place // ROWS, STEPS + 2):
        generator = torch.Generator().manual_seed(100 * epoch + index)
        images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)
        found = (images.float().mean(dim=(2, 3)) > 127.5).nonzero()
        offsets = torch.searchsorted(found[:, 0].contiguous(), torch.arange(ROWS + 1))
        targets = SparseTargets(offsets, found[:, 1], torch.ones(len(found)))
        keys = [f"{epoch}-{index}-{row}" for row in range(ROWS)]
        yield Batch(keys, np.arange(ROWS), images, targets, torch.ones(ROWS, dtype=torch.bool))


class Feed:
    """Reads what `feed` gives for an epoch and a place in it."""

    def __init__(self, feed: Callable[[int, int], Iterable[Batch]]) -> None:
        self.feed, self.epoch, self.place = feed, 0, 0

    def batches(self) -> Iterable[Batch]:
        for batch in self.feed(self.epoch, self.place):
            self.place += ROWS
            yield batch

    def next_epoch(self) -> None:
        self.epoch, self.place = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "place": self.place}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.place = state["epoch"], state["place"]


def inputs(batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
    return normalise(batch.images), from_sparse(batch.targets, 3, batch.mask, torch.device("cpu"))


def make_task(
    loss: nn.Module = BCE,
    feed: Callable[[int, int], Iterable[Batch]] = batches,
    lr: float = 0.01,
    engine: EngineConfig = PLAIN,
    mean_decay: float = 0.0,
) -> Task:
    torch.manual_seed(0)
    model = build_model(ModelConfig("tiny_cnn"), 3)
    return Task(
        state=RunState(model, build_optimizer(OptimConfig(), model), loss, WeightMean(model) if mean_decay else None),
        average=LocalComm().average_gradients(model),
        reading=Feed(feed),
        inputs=inputs,
        rows_per_step=ROWS * engine.accumulate,
        evaluate=lambda: Evaluation(8, 0.7, 0.6, 0.5, 3, 0),
        lr_at=lambda step: lr / (step + 1),
        engine=engine,
        mean_decay=mean_decay,
    )


def run(
    task: Task, config: LoopConfig, start: Position | None = None, stop: Callable[[], bool] = never
) -> tuple[Diary, Position]:
    diary = Diary(task)
    return diary, fit(task, config, start or FRESH, LocalComm(), diary, stop)


def test_every_step_of_every_epoch_is_made_with_its_own_learning_rate() -> None:
    diary, end = run(make_task(), LoopConfig(epochs=3))
    assert [(step, epoch) for step, epoch, _, _ in diary.steps] == [(s + 1, s // STEPS) for s in range(12)]
    assert [lr for *_, lr in diary.steps] == pytest.approx([0.01 / (s + 1) for s in range(12)])
    losses = [loss for _, _, loss, _ in diary.steps]
    means = [sum(losses[first : first + STEPS]) / STEPS for first in (0, 4, 8)]
    assert [record["loss"] for record, _ in diary.epochs] == pytest.approx(means)
    assert end == at(12, 3)


def test_one_step_is_plain_sgd() -> None:
    batch = next(iter(batches(0, 0)))
    by_hand = make_task().state.model
    BCE(by_hand(normalised(batch.images)), inputs(batch, 0)[1]).backward()
    expected = [p - 0.01 * (p.grad + (1e-4 * p if p.ndim > 1 else 0)) for p in by_hand.parameters()]
    task = make_task(feed=lambda epoch, skip: [batch])
    run(task, LoopConfig(epochs=1), at(0, 0, steps=1))
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(task.state.model.parameters(), expected, strict=True))


def normalised(images: Tensor) -> Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


@pytest.mark.parametrize("interrupted_at", [2, 4, 5, 7])
def test_a_resumed_run_ends_bit_for_bit_like_one_run(interrupted_at: int) -> None:
    config = LoopConfig(epochs=2, checkpoint_every_steps=1)
    whole, _ = run(make_task(), config)
    saved = whole.saved[interrupted_at]
    task = make_task()
    task.state.load(saved.tensors)
    rest, end = run(task, config, saved.position)
    assert end.step == 8
    assert [step for step, *_ in rest.steps] == list(range(interrupted_at + 1, 9))
    assert rest.steps == whole.steps[interrupted_at:]
    assert untimed(rest) == untimed(whole)[interrupted_at // STEPS :]
    assert all(torch.equal(rest.saved[8].tensors[name], tensor) for name, tensor in whole.saved[8].tensors.items())


def untimed(diary: Diary) -> list[tuple[dict[str, Any], Evaluation | None]]:
    """What a diary says of its epochs, apart from how long they took."""
    timed = ("elapsed_s", "steps_per_s", "waited_s")
    return [({name: v for name, v in record.items() if name not in timed}, seen) for record, seen in diary.epochs]


def test_a_run_that_goes_on_with_fewer_steps_an_epoch_counts_on_and_keeps_its_learning_rate() -> None:
    task = make_task()
    diary, end = run(task, LoopConfig(epochs=4), at(2 * 16, 2))  # two epochs of 16 steps before
    assert [step for step, *_ in diary.steps] == list(range(33, 41))
    assert [lr for *_, lr in diary.steps] == pytest.approx([0.01 / (s + 1) for s in range(8, 16)])
    assert [record["step"] for record, _ in diary.epochs] == [36, 40]
    assert list(diary.saved) == [36, 40]
    assert end == at(40, 4)


class Twin(LocalComm):
    """Rank 0 of two; the other one has the same weights and losses, and statistics of batch norm that are 0."""

    size = 2

    def sum(self, values: Tensor, name: str) -> Tensor:
        return values.clone() if name.startswith("buffer.") else values * 2

    def gather(self, rows: Tensor, name: str) -> Tensor:
        return torch.cat([rows, rows])


def test_a_save_holds_the_ranks_mean_statistics_and_leaves_training_its_own() -> None:
    saved: dict[int, Diary] = {}
    models = {}
    for every in (0, 1):
        task = make_task()
        saved[every] = Diary(task)
        fit(task, LoopConfig(epochs=2, checkpoint_every_steps=every), FRESH, Twin(), saved[every], never)
        models[every] = task.state.model.state_dict()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    last = {every: diary.saved[8].tensors for every, diary in saved.items()}
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])
    name = "features.1.running_var"
    assert torch.equal(last[0][f"model.{name}"], models[0][name] / 2)


def test_a_run_that_goes_on_where_no_whole_step_is_left_of_the_epoch_finishes_it() -> None:
    start = dataclasses.replace(at(3, 0, STEPS, place=12), loss_sum=6.0)  # the rest is less than a batch
    diary, end = run(make_task(), LoopConfig(epochs=2), start)
    assert [step for step, *_ in diary.steps] == [4, 5, 6, 7]
    assert [(record["epoch"], record["step"]) for record, _ in diary.epochs] == [(1, 3), (2, 7)]
    assert diary.epochs[0][0]["loss"] == 0.5
    assert end.epoch == 2


def test_a_finished_run_has_nothing_left_to_do() -> None:
    diary, end = run(make_task(), LoopConfig(epochs=2), at(8, 2))
    assert diary.steps == []
    assert end.step == 8


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_it_reaches_the_weights(bad: float) -> None:
    calls = []

    class Failing(nn.Module):
        def forward(self, logits: Tensor, targets: Targets) -> Tensor:
            calls.append(1)
            return BCE(logits, targets) * (bad if len(calls) == 6 else 1)

    task = make_task(Failing())
    diary = Diary(task)
    with pytest.raises(Diverged, match=r"loss is not finite at step 6 on rank 0: the run stops without saving; "):
        fit(task, LoopConfig(epochs=3), FRESH, LocalComm(), diary, never)
    assert list(diary.saved) == [4]  # the last good one
    assert all(torch.isfinite(parameter).all() for parameter in task.state.model.parameters())


def test_weights_that_are_no_numbers_are_never_saved() -> None:
    task = make_task()
    stem = next(module for module in task.state.model.modules() if isinstance(module, nn.BatchNorm2d))
    assert stem.running_var is not None
    stem.running_var.fill_(math.nan)  # unseen by the training loss, ruins the evaluation
    diary = Diary(task)
    with pytest.raises(Diverged, match=r"weights are not finite after step 4"):
        fit(task, LoopConfig(epochs=1), FRESH, LocalComm(), diary, never)
    assert diary.saved == {}


def test_a_request_to_stop_saves_the_step_and_ends() -> None:
    wishes = iter([False, False, True])
    diary, end = run(make_task(), LoopConfig(epochs=3), stop=lambda: next(wishes))
    assert (end.epoch, end.step_in_epoch) == (0, 3)
    assert list(diary.saved) == [3]


def test_evaluations_and_checkpoints_come_when_due() -> None:
    diary, _ = run(make_task(), LoopConfig(epochs=5, eval_every_epochs=2, checkpoint_every_steps=3))
    assert [record["epoch"] for record, evaluation in diary.epochs if evaluation] == [2, 4, 5]
    assert list(diary.saved) == [3, 4, 6, 8, 9, 12, 15, 16, 18, 20]
    assert [diary.saved[step].score for step in (4, 8, 20)] == [None, 0.6, 0.6]


def test_batches_that_run_out_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"rank 0 ran out of batches at step 2"):
        run(make_task(feed=lambda epoch, skip: list(batches(epoch, skip))[:2]), LoopConfig(epochs=1))


def test_the_loss_goes_down_on_what_can_be_learnt() -> None:
    same = list(batches(0, 0))[:STEPS]
    diary, _ = run(make_task(feed=lambda epoch, skip: same, lr=1.0), LoopConfig(epochs=8))
    assert diary.epochs[-1][0]["loss"] < 0.5 * diary.epochs[0][0]["loss"]


@pytest.mark.parametrize("option", ["epochs", "eval_every_epochs", "checkpoint_every_steps", "compare_every_steps"])
def test_impossible_options_are_named(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be >= .*, got -1"):
        LoopConfig(**{option: -1})


def test_a_step_of_several_batches_takes_their_mean_gradient() -> None:
    by_hand = make_task().state.model.train()
    parts = list(batches(0, 0))[:3]
    losses = [BCE(by_hand(normalised(batch.images)), inputs(batch, 0)[1]) / 3 for batch in parts]
    sum(losses[1:], start=losses[0]).backward()
    expected = [p - 0.01 * (p.grad + (1e-4 * p if p.ndim > 1 else 0)) for p in by_hand.parameters()]
    task = make_task(engine=EngineConfig(accumulate=3))
    diary, end = run(task, LoopConfig(epochs=1), at(0, 0, steps=1))
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(task.state.model.parameters(), expected, strict=True))
    assert diary.steps[0][2] == pytest.approx(sum(loss.item() for loss in losses))
    assert diary.epochs[0][0]["loss"] == pytest.approx(diary.steps[0][2])
    assert (end.step, end.epoch) == (1, 1)


def test_an_epoch_that_was_cut_off_tells_all_pictures_that_were_left_out() -> None:
    def broken(epoch: int, place: int) -> Iterable[Batch]:
        for batch in batches(epoch, place):
            yield batch._replace(skipped=int(batch.keys[0][2]) + 1)  # 1, 2, 3, 4 in the steps of an epoch

    task, wishes = make_task(feed=broken), iter([False, True])
    diary, end = run(task, LoopConfig(epochs=2), stop=lambda: next(wishes))
    assert (end.step, end.skipped, diary.epochs) == (2, 3, [])
    diary, end = run(task, LoopConfig(epochs=2), diary.saved[2].position)
    assert [record["skipped_images"] for record, _ in diary.epochs] == [10, 10]


def test_pictures_that_were_left_out_are_those_of_all_ranks_and_batches_of_a_step() -> None:
    def broken(epoch: int, place: int) -> Iterable[Batch]:
        return (batch._replace(skipped=1) for batch in batches(epoch, place))

    # Before the threads begin, which share torch's random numbers: else weights may differ from the start.
    tasks = [make_task(feed=broken, engine=EngineConfig(accumulate=2)) for _ in range(2)]

    def one(comm: ThreadComm) -> Position:
        task, stop = tasks[comm.rank], iter([False, True])
        return fit(task, LoopConfig(epochs=1), FRESH, comm, Diary(task), lambda: next(stop))

    assert [end.skipped for end in on_ranks(2, one)] == [8, 8]


@pytest.mark.parametrize(("loss", "not_finite"), [(math.inf, 0), (0.7, 3)])
def test_an_evaluation_without_finite_scores_ends_the_run_in_a_line(loss: float, not_finite: int) -> None:
    task = make_task()
    found = Evaluation(8, loss, 0.6, 0.5, 3, 0, not_finite=not_finite)
    task = dataclasses.replace(task, evaluate=lambda: found)
    diary = Diary(task)
    with pytest.raises(
        Diverged, match=rf"loss is {loss:g} and {not_finite} of 8 images have scores that are not finite"
    ):
        fit(task, LoopConfig(epochs=2), FRESH, LocalComm(), diary, never)
    assert diary.saved == {} and diary.epochs == []


def test_a_loss_that_is_no_number_in_any_batch_of_a_step_stops_it() -> None:
    class Failing(nn.Module):
        calls = 0

        def forward(self, logits: Tensor, targets: Targets) -> Tensor:
            self.calls += 1
            return BCE(logits, targets) * (math.nan if self.calls == 2 else 1)

    task = make_task(Failing(), engine=EngineConfig(accumulate=3))
    before = [parameter.clone() for parameter in task.state.model.parameters()]
    with pytest.raises(Diverged, match=r"loss is not finite at step 1 on rank 0:"):
        run(task, LoopConfig(epochs=1))
    assert all(torch.equal(a, b) for a, b in zip(task.state.model.parameters(), before, strict=True))


def test_the_mean_of_weights_is_evaluated_and_the_weights_are_trained_on() -> None:
    seen: list[Tensor] = []
    tasks = {decay: make_task(mean_decay=decay, lr=1.0) for decay in (0.0, 0.8)}
    for decay, task in tasks.items():
        weight = task.state.model.get_parameter("fc.weight")

        def look(weight: Tensor = weight) -> None:
            seen.append(weight.detach().clone())

        tasks[decay] = dataclasses.replace(task, evaluate=look)
        run(tasks[decay], LoopConfig(epochs=1))
    plain, averaged = (task.state.tensors() for task in tasks.values())
    assert all(torch.equal(averaged[name], tensor) for name, tensor in plain.items())
    assert torch.equal(seen[0], plain["model.fc.weight"])
    assert torch.equal(seen[1], averaged["mean.fc.weight"]) and not torch.equal(seen[0], seen[1])
    assert int(averaged["mean.updates"]) == STEPS


@pytest.mark.parametrize(("every", "found_at"), [(1, 2), (2, 2), (3, 3), (0, 4), (100, 4)])
def test_ranks_that_drift_apart_are_named_on_all_of_them_when_weights_are_compared(every: int, found_at: int) -> None:
    tasks = [make_task() for _ in range(3)]  # not by the ranks: they are threads and share torch's chance

    def on_rank(comm: ThreadComm) -> tuple[str, dict[int, Checkpoint], int]:
        diary = Diary(tasks[comm.rank])

        def inputs_of(batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
            if comm.rank == 1 and len(diary.steps) == 1:  # a bit flips before step 2
                diary.task.state.model.get_parameter("fc.bias").data.view(torch.int32)[0] ^= 1 << 20
            return inputs(batch, epoch)

        task, config = dataclasses.replace(diary.task, inputs=inputs_of), LoopConfig(1, compare_every_steps=every)
        with pytest.raises(Diverged) as told:
            fit(task, config, FRESH, comm, diary, never)
        return str(told.value), diary.saved, diary.finished

    line = f"after step {found_at} the weights of rank 1 differ from those of the other ranks: the run stops; "
    for told, saved, finished in on_ranks(3, on_rank):
        assert told.startswith(line)
        assert (saved, finished) == ({}, 1)


@pytest.mark.parametrize("stopping", [False, True])
def test_no_rank_leaves_before_what_was_saved_is_written(stopping: bool) -> None:
    written = threading.Event()

    class Slow(Diary):
        def finish(self) -> None:
            time.sleep(0.1)
            written.set()

    tasks = [make_task() for _ in range(2)]

    def on_rank(comm: ThreadComm) -> bool:
        diary = (Diary if comm.rank else Slow)(tasks[comm.rank])
        fit(diary.task, LoopConfig(epochs=1), FRESH, comm, diary, lambda: stopping)
        return written.is_set()

    assert on_ranks(2, on_rank) == [True, True]


class SickPartner(LocalComm):
    """Rank 0 of two; the loss of the other one is never a number."""

    size = 2

    def sum(self, values: Tensor, name: str) -> Tensor:
        partner = torch.zeros_like(values)
        partner[-1] = 1.0 if name == "step" else 0.0
        return values + partner


def test_a_bad_loss_on_another_rank_stops_this_one_before_its_weights_change() -> None:
    task = make_task()
    before = [parameter.clone() for parameter in task.state.model.parameters()]
    with pytest.raises(Diverged, match=r"loss is not finite at step 1 on rank 1:"):
        fit(task, LoopConfig(epochs=1), FRESH, SickPartner(), Diary(task), never)
    assert all(torch.equal(a, b) for a, b in zip(task.state.model.parameters(), before, strict=True))


def test_losses_see_logits_of_32_bits_whatever_layers_compute_in() -> None:
    seen: list[torch.dtype] = []

    class Spy(nn.Module):
        def forward(self, logits: Tensor, targets: Targets) -> Tensor:
            seen.append(logits.dtype)
            assert not torch.is_autocast_enabled("cpu")
            return BCE(logits, targets)

    task = make_task(Spy(), engine=EngineConfig(precision="bf16"))
    fit(task, LoopConfig(epochs=1), FRESH, LocalComm(), Diary(task), never)
    assert seen == [torch.float32] * STEPS
