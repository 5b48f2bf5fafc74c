"""A step on N ranks with B / N images each is the step on one rank with B images: rows, loss, gradients, weights."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from torch import Tensor

from ml_images.train.checkpoint import Position
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.ema import EmaConfig
from ml_images.train.engine import EngineConfig
from ml_images.train.evaluation import Evaluation
from ml_images.train.inputs import read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import SilentJournal, fit
from ml_images.train.losses import LossConfig, Name
from ml_images.train.model import BatchNorms, ModelConfig
from ml_images.train.optimizers import OptimConfig
from ml_images.train.reader import BadImages, Stages
from ml_images.train.schedule import ScheduleConfig
from ml_images.train.start import build
from ml_images.train.task import make_task

ROWS = 48  # a step on all ranks: the data set's 192 are 4 steps
SEEDING = threading.Lock()  # ranks that are threads share one random generator


class Sized(LocalComm):
    def __init__(self, size: int) -> None:
        self.size = size


class Losses(SilentJournal):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.evaluation: Evaluation | None = None

    def step(self, step: int, epoch: int, loss: float, lr: float, waited_s: float) -> None:
        self.losses.append(loss)

    def epoch(self, record: dict[str, Any], evaluation: Evaluation | None) -> None:
        self.evaluation = evaluation


Trained = tuple[list[float], dict[str, Tensor], Evaluation]


def train(
    dataset: Path,
    output: Path,
    size: int,
    batch_norm: BatchNorms,
    accumulate: int = 1,
    loss: Name = "bce",
    bad_images: BadImages = "raise",
) -> list[Trained]:
    """Losses, tensors and evaluation on each rank, after an epoch of 4 steps."""
    job = TrainJob(
        output=str(output),
        epochs=1,
        data=DataConfig(
            path=str(dataset),
            batch_size=ROWS // size // accumulate,
            image_size=32,
            decode_threads=1,
            bad_images=bad_images,
        ),
        model=ModelConfig("tiny_cnn", batch_norm=batch_norm),
        loss=LossConfig(loss),
        optim=OptimConfig(lr=0.5),
        schedule=ScheduleConfig(warmup_epochs=0),
        ema=EmaConfig(half_life_epochs=0.5),
        engine=EngineConfig(accumulate=accumulate),
    )
    inputs = read_inputs(job, Sized(size))

    def work(comm: ThreadComm) -> Trained:
        journal = Losses()
        with SEEDING:
            state, device = build(job, inputs, comm)
        task = make_task(job, inputs, state, device, comm, Stages())
        start = Position(0, 0, inputs.plan.steps, task.reading.state_dict())
        fit(task, job, start, comm, journal, lambda: False)
        assert journal.evaluation is not None
        return journal.losses, state.tensors(), journal.evaluation

    return on_ranks(size, work, bucket_bytes=1000)


def check_alike(one: Trained, others: list[Trained]) -> None:
    for losses, tensors, evaluation in others:
        assert losses == pytest.approx(one[0], rel=1e-4)
        assert tensors.keys() == one[1].keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, one[1][name], rtol=1e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
        assert evaluation.rows == one[2].rows
        assert evaluation.loss == pytest.approx(one[2].loss, rel=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("batch_norm", ["frozen", "synchronised"])
def test_any_number_of_ranks_takes_the_same_steps(
    dataset: Path, tmp_path: Path, batch_norm: BatchNorms, accumulate: int
) -> None:
    (one,) = train(dataset, tmp_path, 1, batch_norm, accumulate)
    assert len(one[0]) == 4 and one[0][3] < one[0][0]
    for size in (2, 4):
        check_alike(one, train(dataset, tmp_path, size, batch_norm, accumulate))


@pytest.mark.parametrize("size", [1, 2])
def test_a_step_made_of_several_batches_is_the_step_with_all_of_them(dataset: Path, tmp_path: Path, size: int) -> None:
    (one,) = train(dataset, tmp_path, 1, "frozen")
    for accumulate in (2, 4):
        check_alike(one, train(dataset, tmp_path, size, "frozen", accumulate))


@pytest.mark.parametrize("loss", ["ml_images", "two_way"])
def test_losses_that_look_at_the_whole_batch_see_that_of_all_ranks(dataset: Path, tmp_path: Path, loss: Name) -> None:
    (one,) = train(dataset, tmp_path, 1, "synchronised", loss=loss)
    check_alike(one, train(dataset, tmp_path, 2, "synchronised", loss=loss))


@pytest.mark.parametrize("batch_norm", ["frozen", "synchronised"])
def test_ranks_that_left_pictures_out_weigh_the_others_as_one_rank_does(
    make_dataset: Callable[..., Path], tmp_path: Path, batch_norm: BatchNorms
) -> None:
    # With synchronised statistics few: where many even pictures lie at the kink of a ReLU, rounding becomes 1e-5.
    broken = range(0, 40, 2) if batch_norm == "frozen" else (0, 50, 51, 120, 190)
    dataset = make_dataset(train=(24,) * 8, val=(12, 12), broken=broken)
    (one,) = train(dataset, tmp_path, 1, batch_norm, bad_images="skip")
    for size in (2, 4):
        check_alike(one, train(dataset, tmp_path, size, batch_norm, bad_images="skip"))
