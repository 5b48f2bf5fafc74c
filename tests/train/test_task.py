import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_images.errors import InputError
from ml_images.train.comm import HorovodComm, LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.ema import EmaConfig
from ml_images.train.engine import EngineConfig
from ml_images.train.inputs import read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import Task
from ml_images.train.losses import LossConfig
from ml_images.train.model import ModelConfig
from ml_images.train.reader import Batch, SparseTargets, Stages
from ml_images.train.resolution import ResolutionConfig
from ml_images.train.start import build
from ml_images.train.task import make_task, open_reading


def test_every_option_and_input_that_decides_the_order_of_rows_is_told_apart(dataset: Path) -> None:
    def order(**data: int) -> dict[str, Any]:
        job = TrainJob(output="run", seed=data.pop("seed", 0), data=DataConfig(path=str(dataset), **data))
        return open_reading(job, read_inputs(job, LocalComm()), LocalComm(), Stages()).state_dict()

    base = order(batch_size=10)
    assert order(batch_size=10, decode_threads=7) == order(batch_size=9) == base
    other = order(batch_size=10, seed=5)
    assert [key for key in base if other[key] != base[key]] == ["seed"]


def task_of(dataset: Path, output: str = "x", **options: Any) -> Task:
    data = DataConfig(path=str(dataset), batch_size=3, image_size=32)
    job = TrainJob(**{"output": output, "data": data, "model": ModelConfig("tiny_cnn"), **options})
    inputs = read_inputs(job, LocalComm())
    state, device = build(job, inputs, LocalComm())
    return make_task(job, inputs, state, device, LocalComm(), Stages())


def three_rows() -> Batch:
    """The second one is left out."""
    targets = SparseTargets(torch.tensor([0, 1, 1, 2]), torch.tensor([2, 4]), torch.tensor([1.0, 0.5]))
    images = torch.full((3, 3, 32, 32), 200, dtype=torch.uint8)
    images[1] = 0
    return Batch(["a", "", "c"], np.arange(3), images, targets, torch.tensor([True, False, True]))


def test_pictures_that_were_left_out_are_grey_and_have_no_labels(dataset: Path) -> None:
    """Batches keep their size, so that means over ranks are means over all their pictures."""
    task, batch = task_of(dataset), three_rows()
    seen, told = task.inputs(batch, 0)
    assert seen.shape == (3, 3, 32, 32) and (seen[[0, 2]] > 0).all() and not seen[1].any()
    assert told.values[0, 2] == 1 and told.values[2, 4] == 0.5 and told.values.sum() == 1.5
    assert told.known.tolist() == [[True] * 6, [False] * 6, [True] * 6] and told.rows.tolist() == [True, False, True]
    nothing, told = task.inputs(batch._replace(mask=torch.zeros(3, dtype=torch.bool)), 0)
    assert not nothing.any() and not told.known.any()  # all ranks make their step all the same


def test_unlisted_classes_are_what_the_loss_takes_them_for(dataset: Path) -> None:
    _, told = task_of(dataset, loss=LossConfig(unlisted="ignore")).inputs(three_rows(), 0)
    assert told.known.nonzero().tolist() == [[0, 2], [2, 4]]


def test_pictures_lie_in_memory_as_the_filters_do(dataset: Path) -> None:
    task = task_of(dataset, engine=EngineConfig(channels_last=True))
    images, _ = task.inputs(three_rows(), 0)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert next(task.state.model.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, task_of(dataset).inputs(three_rows(), 0)[0])


def test_pictures_have_the_size_of_their_epoch_and_evaluation_its_own(dataset: Path, tmp_path: Path) -> None:
    task = task_of(dataset, str(tmp_path / "run"), resolution=ResolutionConfig([32, 48], [0, 2]))
    sides = []
    for _ in range(4):
        sides.append(next(iter(task.reading.batches())).images.shape[-1])
        task.reading.next_epoch()
    assert sides == [32, 32, 48, 48]
    found = task.evaluate()
    assert found is not None and found.rows == 24


def test_a_step_counts_all_its_batches_and_the_mean_of_weights_is_the_same_for_any_step(dataset: Path) -> None:
    task = task_of(dataset, engine=EngineConfig(accumulate=4), ema=EmaConfig(2.0))
    assert task.rows_per_step == 12
    assert task.mean_decay ** (2.0 * 192 / 12) == pytest.approx(0.5)
    assert task.lr_at(5 * 16) == pytest.approx(0.1 * 12 / 256)  # after the warm-up


def test_what_the_engine_cannot_send_is_refused_in_one_line(dataset: Path) -> None:
    class Horovod(LocalComm):
        average_gradients = HorovodComm.average_gradients

    job = TrainJob(output="x", data=DataConfig(path=str(dataset)), engine=EngineConfig(compression="bf16"))
    job = dataclasses.replace(job, model=ModelConfig("tiny_cnn"))
    inputs = read_inputs(job, LocalComm())
    state, device = build(job, inputs, LocalComm())
    with pytest.raises(InputError, match="cannot send bf16: compression must be none or fp16"):
        make_task(job, inputs, state, device, Horovod(), Stages())
