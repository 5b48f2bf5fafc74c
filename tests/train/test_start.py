import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.cifar_net import CifarNet, whiten
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig, TrainingReader, training_pictures
from ml_images.train.dataset import Split
from ml_images.train.elastic import Commit
from ml_images.train.ema import EmaConfig
from ml_images.train.group_size import GroupSize
from ml_images.train.inputs import Inputs, read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import Task
from ml_images.train.losses import LossConfig
from ml_images.train.model import ModelConfig
from ml_images.train.optimizers import OptimConfig
from ml_images.train.plan import EpochPlan, plan_epoch
from ml_images.train.reader import Stages
from ml_images.train.start import begin, build, continue_from, go_on, open_run
from ml_images.train.task import make_task

ORDER = {"seed": 0, "data_set": "d1"}
PLAN = EpochPlan(rows=70, steps=8, batch_size=4, size=2)


def at(epoch: int, step_in_epoch: int) -> Position:
    reading = {"epoch": epoch, "place": 8 * step_in_epoch, **ORDER}
    return Position(epoch * 8 + step_in_epoch, step_in_epoch, 8, reading, 0.5)


def fresh(**changed: Any) -> TrainingReader:
    split = Split("somewhere", 1, 1, ("a",), (1,), (70,), GroupSize())
    return TrainingReader(split, DataConfig(path="x"), **{**ORDER, **changed}, rows=70)


def test_a_run_goes_on_in_the_middle_of_an_epoch_under_the_same_order_only() -> None:
    assert continue_from(at(3, 5), fresh(), 10, PLAN) == at(3, 5)
    for name, was in ORDER.items():
        with pytest.raises(InputError, match=rf"of an epoch with {name}={was}, this run has {name}=7: go on with"):
            continue_from(at(3, 5), fresh(**{name: 7}), 10, PLAN)


def test_between_epochs_the_order_may_change_and_the_steps_count_on() -> None:
    plan = EpochPlan(70, 4, 4, 4)
    found = continue_from(at(3, 0), fresh(seed=4), 10, plan)
    assert found == Position(24, 0, 4, {"epoch": 3, "place": 0, "seed": 4, "data_set": "d1"}, 0.5)


@pytest.mark.parametrize(("batch_size", "size"), [(4, 2), (8, 1), (1, 8), (4, 1), (3, 1), (4, 4), (20, 1), (70, 1)])
def test_in_the_middle_of_an_epoch_it_goes_on_with_the_rows_that_are_left_on_any_number_of_ranks(
    batch_size: int, size: int
) -> None:
    plan = EpochPlan(70, 70 // (batch_size * size), batch_size, size)
    found = continue_from(at(3, 5), fresh(), 10, plan)
    assert (found.step, found.epoch, found.place) == (29, 3, 40)
    assert found.steps_per_epoch - found.step_in_epoch == 30 // (batch_size * size)


def test_a_run_does_not_go_back_to_fewer_epochs() -> None:
    with pytest.raises(InputError, match="has 11 epochs behind it, epochs=10 asks for fewer"):
        continue_from(at(11, 0), fresh(), 10, PLAN)
    assert continue_from(at(10, 0), fresh(), 10, PLAN).epoch == 10


def prepared(dataset: Path, output: Path, **options: Any) -> tuple[TrainJob, Inputs, Task]:
    data = DataConfig(path=str(dataset), batch_size=12, image_size=32)
    job = TrainJob(**{"output": str(output), "data": data, "model": ModelConfig("tiny_cnn"), **options})
    inputs = read_inputs(dataclasses.replace(job, prior_bias=False), LocalComm())
    if job.prior_bias:
        counts = np.array([0, 48, 96, 144, 192, 10])
        inputs = dataclasses.replace(inputs, classes=dataclasses.replace(inputs.classes, training_images=counts))
    state, device = build(job, inputs, LocalComm())
    return job, inputs, make_task(job, inputs, state, device, LocalComm(), Stages())


def test_a_run_that_begins_anew_takes_the_weights_of_another_network_and_says_so(dataset: Path, tmp_path: Path) -> None:
    _, _, other = prepared(dataset, tmp_path / "other", seed=1)
    weights = {name: tensor for name, tensor in other.state.model.state_dict().items() if not name.startswith("fc.")}
    save_file(weights | {"fc.weight": torch.zeros(9, 64), "fc.bias": torch.zeros(9)}, tmp_path / "weights.safetensors")
    options = {"start_from": str(tmp_path / "weights.safetensors"), "prior_bias": True, "ema": EmaConfig(1.0)}
    job, inputs, task = prepared(dataset, tmp_path / "run", **options)
    with open_run(job, {}, inputs, task, LocalComm()) as (position, told):
        pass
    assert (position.step, position.epoch, position.steps_per_epoch) == (0, 0, 16)
    assert "drawn anew: fc.bias, fc.weight (6 classes here, 9 there)" in told
    found = task.state.tensors()
    assert all(torch.equal(found[f"model.{name}"], tensor) for name, tensor in weights.items())
    assert torch.sigmoid(found["model.fc.bias"])[1:5].tolist() == pytest.approx([0.25, 0.5, 0.75, 1 - 0.5 / 192])
    assert all(torch.equal(found[f"mean.{name}"], found[f"model.{name}"]) for name in task.state.model.state_dict())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"] == {}


def test_the_head_of_a_softmax_begins_at_the_logarithms_of_the_frequencies(dataset: Path, tmp_path: Path) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run", prior_bias=True, loss=LossConfig("softmax"))
    begin(job, inputs, task.state)
    bias = task.state.model.get_parameter("fc.bias").detach()
    assert bias[1:4].exp().tolist() == pytest.approx([0.25, 0.5, 0.75])


def test_a_head_that_comes_with_the_weights_keeps_its_biases(dataset: Path, tmp_path: Path) -> None:
    _, _, other = prepared(dataset, tmp_path / "other", seed=1)
    save_file(other.state.model.state_dict(), tmp_path / "weights.safetensors")
    options = {"start_from": str(tmp_path / "weights.safetensors"), "prior_bias": True}
    job, inputs, task = prepared(dataset, tmp_path / "run", **options)
    begin(job, inputs, task.state)
    assert torch.equal(task.state.model.get_parameter("fc.bias"), other.state.model.get_parameter("fc.bias"))


def test_a_whitening_layer_begins_with_what_the_training_pictures_need(dataset: Path, tmp_path: Path) -> None:
    data = DataConfig(path=str(dataset), batch_size=12, image_size=32, augmentation="shift", evaluation="whole")
    options: dict[str, Any] = {"data": data, "model": ModelConfig("cifar_net", whitening=True)}
    job, inputs, task = prepared(dataset, tmp_path / "run", **options)
    begin(job, inputs, task.state)
    wanted = CifarNet(6)
    whiten(wanted, training_pictures(inputs.train, data, 2048, job.seed))
    found = task.state.tensors()["model.whitening.weight"].clone()
    assert torch.equal(found, wanted.whitening.weight)
    save_file(task.state.model.state_dict(), tmp_path / "weights.safetensors")
    job, inputs, task = prepared(dataset, tmp_path / "other", **options, seed=1)
    begin(job, inputs, task.state)
    assert not torch.equal(task.state.tensors()["model.whitening.weight"], found)
    begin(dataclasses.replace(job, start_from=str(tmp_path / "weights.safetensors")), inputs, task.state)
    assert torch.equal(task.state.tensors()["model.whitening.weight"], found)


def test_ranks_that_were_there_before_go_on_where_they_committed_and_not_at_the_checkpoint(
    dataset: Path, tmp_path: Path
) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run")
    with open_run(job, {}, inputs, task, LocalComm()) as (start, _):
        pass
    commit = Commit(1)
    commit.take(task.state, dataclasses.replace(start, step=7, step_in_epoch=7, reading={**start.reading, "place": 84}))
    expected = {name: tensor.clone() for name, tensor in task.state.tensors().items()}
    for parameter in task.state.model.parameters():
        torch.nn.init.zeros_(parameter)
    later = dataclasses.replace(start, step=16, reading={**start.reading, "epoch": 1})
    checkpoint.save(tmp_path / "run" / "checkpoints", Checkpoint(later, None, {}, task.state.tensors()), keep=1)
    (tmp_path / "run" / "history.jsonl").write_text('{"epoch": 1}\n')  # told, but lost with the rank that told it
    twice = dataclasses.replace(inputs, plan=plan_epoch(inputs.train, 12, 2))
    with open_run(job, {}, twice, task, LocalComm(), commit) as (position, told):
        pass
    assert (position.step, position.epoch, position.place) == (7, 0, 84)
    assert (position.step_in_epoch, position.steps_per_epoch) == (4, 8)  # 108 rows are left: 4 steps of 24
    assert all(torch.equal(task.state.tensors()[name], tensor) for name, tensor in expected.items())
    assert (tmp_path / "run" / "history.jsonl").read_text() == ""
    assert told == "the ranks have changed: 1 go on behind step 7"


def test_weights_that_cannot_be_had_leave_the_folder_as_it_was(dataset: Path, tmp_path: Path) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run", start_from=str(tmp_path / "missing.safetensors"))
    refused = pytest.raises(InputError, match=r"cannot read weights from .*missing.safetensors")
    with refused, open_run(job, {}, inputs, task, LocalComm()):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("is_new", [True, False])
def test_only_one_run_at_a_time_writes_into_a_folder(dataset: Path, tmp_path: Path, is_new: bool) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run")
    if not is_new:
        with open_run(job, {}, inputs, task, LocalComm()):
            pass
    with open_run(job, {"seed": 0}, inputs, task, LocalComm()):
        checkpoint.save(tmp_path / "run" / "checkpoints", Checkpoint(at(1, 0), None, {}, task.state.tensors()), 1)
        path = checkpoint.list_checkpoints(tmp_path / "run" / "checkpoints")[0]
        path.write_bytes(b"half")  # a run that is let in would put it aside
        refused = pytest.raises(InputError, match=r"another run is writing '.*/run': wait until it has ended, or give")
        with refused, open_run(job, {"seed": 1}, inputs, task, LocalComm()):
            pass
        assert json.loads((tmp_path / "run" / "run.json").read_text())["config"] == {"seed": 0}
        assert path.exists()
        path.unlink()
    with open_run(job, {"seed": 2}, inputs, task, LocalComm()):
        assert json.loads((tmp_path / "run" / "run.json").read_text())["config"] == {"seed": 2}


def test_a_run_that_lost_a_rank_goes_on_though_that_one_still_locks_the_folder(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run")
    commit = Commit(1)
    with open_run(job, {}, inputs, task, LocalComm()) as (start, _):
        commit.take(task.state, start)
        with open_run(job, {}, inputs, task, LocalComm(), commit) as (position, _):
            assert position == start
    assert "going on without the lock" in caplog.text


def test_a_network_without_a_linear_head_cannot_begin_with_the_frequencies(dataset: Path, tmp_path: Path) -> None:
    job, inputs, task = prepared(dataset, tmp_path / "run", prior_bias=True)
    state = dataclasses.replace(task.state, model=nn.Conv2d(3, 6, 1))
    with pytest.raises(InputError, match=r"prior_bias=true does not go with model.name=tiny_cnn: its head"):
        begin(job, inputs, state)


def test_a_run_does_not_go_on_with_what_another_optimizer_or_loss_remembers(dataset: Path, tmp_path: Path) -> None:
    was: dict[str, Any] = {"optim": {"name": "sgd"}}
    job, _, task = prepared(dataset, tmp_path / "run", optim=OptimConfig("adamw"))
    saved = Checkpoint(at(1, 0), None, was, task.state.tensors())
    with pytest.raises(InputError, match=r"trained with optim.name=sgd, this run has adamw: go on with the same, or"):
        go_on(job, saved, task.state)
    saved = Checkpoint(at(1, 0), None, {"loss": {"name": "focal"}}, task.state.tensors())
    with pytest.raises(InputError, match=r"trained with loss.name=focal, this run has bce: go on with the same, or"):
        go_on(job, saved, task.state)
    saved = Checkpoint(at(1, 0), None, {}, task.state.tensors())
    job, _, task = prepared(dataset, tmp_path / "run", loss=LossConfig("ml_images"))
    with pytest.raises(
        InputError, match=r"another loss \(3 tensors differ, first 'negative_run'\): the section loss must"
    ):
        go_on(job, saved, task.state)
