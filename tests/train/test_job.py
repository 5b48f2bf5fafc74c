from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml_images import config
from ml_images.errors import InputError, StorageError
from ml_images.train.checkpoint import Position
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.job import TrainJob, continue_from, from_rank_0, make_task, read_inputs, row_order
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.plan import EpochPlan
from ml_images.train.reader import Batch, SparseTargets, Stages
from ml_images.train.schedule import ScheduleConfig

CONF = Path(__file__).parents[2] / "conf"


ORDER = {"data set": "d1", "seed": 0}
PLAN = EpochPlan(rows=70, steps=8, batch_size=4, size=2)


def at(epoch: int, step_in_epoch: int) -> Position:
    return Position(epoch * 8 + step_in_epoch, epoch, step_in_epoch, 8, ORDER, 0.5, 8 * step_in_epoch)


def fresh(steps: int, **changed: Any) -> Position:
    return Position(0, 0, 0, steps, ORDER | changed)


@pytest.mark.parametrize(
    "file", [*sorted(CONF.glob("train/*.yaml")), CONF / "smoke" / "train.yaml"], ids=lambda f: f.name
)
def test_every_experiment_fits_the_options(file: Path) -> None:
    job = config.load(TrainJob, [str(file), "data.path=x", "output=y"], program="train.py")
    assert job.model.name == "resnet101"


def test_options_come_from_files_and_words() -> None:
    words = [str(CONF / "train" / "pretrain.yaml"), "data.path=x", "output=y", "optim.lr=0.02", "seed=4"]
    job = config.load(TrainJob, words, program="train.py")
    assert (job.epochs, job.data.batch_size, job.optim.lr, job.seed) == (60, 128, 0.02, 4)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["output=y"], "option 'data.path' is required"),
        (["data.path=x"], "option 'output' is required"),
        (["data.path=x", "output=y", "epochs=3"], "schedule.warmup_epochs must be less than epochs=3, got 5"),
        (["data.path=x", "output=y", "keep_checkpoints=0"], "keep_checkpoints must be >= 1, got 0"),
        (["data.path=x", "output=y", "seed=-1"], r"seed must be in \[0, 2\*\*63\), got -1"),
        (["data.path=x", "output=y", f"seed={2**64}"], r"seed must be in \[0, 2\*\*63\), got 1844"),
        (["data.path=x", "output=y", "optim.lr=.nan"], "optim.lr must be > 0 and finite, got nan"),
        (
            ["data.path=x", "output=y", "data.batch_size=1", "data.image_size=32"],
            "data.batch_size=1 with data.image_size=32: the last map of a ResNet is 1x1",
        ),
        (["data.path=x", "output=y", "epochs=many"], "option 'epochs': 'many' was given"),
    ],
)
def test_wrong_options_end_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        config.load(TrainJob, words, program="train.py")


def test_a_run_goes_on_in_the_middle_of_an_epoch_under_the_same_order_only() -> None:
    assert continue_from(at(3, 5), fresh(8), 10, PLAN) == at(3, 5)
    for name, was in ORDER.items():
        with pytest.raises(InputError, match=rf"of an epoch with {name}={was}, this run has {name}=7: go on with"):
            continue_from(at(3, 5), fresh(8, **{name: 7}), 10, PLAN)


def test_between_epochs_the_order_may_change_and_the_steps_count_on() -> None:
    plan = EpochPlan(70, 4, 4, 4)
    assert continue_from(at(3, 0), fresh(4, seed=4), 10, plan) == Position(24, 3, 0, 4, ORDER | {"seed": 4}, 0.5)


@pytest.mark.parametrize(("batch_size", "size"), [(4, 2), (8, 1), (1, 8), (4, 1), (3, 1), (4, 4), (20, 1), (70, 1)])
def test_in_the_middle_of_an_epoch_it_goes_on_with_the_rows_that_are_left_on_any_number_of_ranks(
    batch_size: int, size: int
) -> None:
    plan = EpochPlan(70, 70 // (batch_size * size), batch_size, size)
    found = continue_from(at(3, 5), fresh(plan.steps), 10, plan)
    assert (found.step, found.epoch, found.place) == (29, 3, 40)
    assert found.steps_per_epoch - found.step_in_epoch == 30 // (batch_size * size)


def test_a_run_does_not_go_back_to_fewer_epochs() -> None:
    with pytest.raises(InputError, match="has 11 epochs behind it, epochs=10 asks for fewer"):
        continue_from(at(11, 0), fresh(8), 10, PLAN)
    assert continue_from(at(10, 0), fresh(8), 10, PLAN).epoch == 10


def test_every_option_and_input_that_decides_the_order_of_rows_is_told_apart(dataset: Path) -> None:
    def order(**data: int) -> dict[str, Any]:
        job = TrainJob(output="run", seed=data.pop("seed", 0), data=DataConfig(path=str(dataset), **data))
        return row_order(job, read_inputs(job, LocalComm()))

    base = order(batch_size=10)
    assert order(batch_size=10, decode_threads=7) == order(batch_size=9) == base
    other = order(batch_size=10, seed=5)
    assert [key for key in base if other[key] != base[key]] == ["seed"]


def test_the_smallest_batches_that_batch_norm_can_take_are_let_through() -> None:
    TrainJob(output="run", data=DataConfig(path="x", batch_size=1, image_size=33))
    TrainJob(output="run", data=DataConfig(path="x", batch_size=1, image_size=32), model=ModelConfig("tiny_cnn"))
    for batch_size, image_size, fits in ((1, 33, True), (2, 32, True), (1, 32, False)):
        images = torch.zeros(batch_size, 3, image_size, image_size)
        with nullcontext() if fits else pytest.raises(ValueError, match="more than 1 value per channel"):
            build_model(ModelConfig("resnet18"), 2)(images)


def test_inputs_are_the_splits_and_the_plan(dataset: Path) -> None:
    job = TrainJob(output="run", data=DataConfig(path=str(dataset), batch_size=10))
    inputs = read_inputs(job, LocalComm())
    assert (inputs.train.rows, inputs.val.rows, inputs.train.num_classes) == (192, 24, 6)
    assert inputs.plan == EpochPlan(rows=192, steps=19, batch_size=10, size=1)


class OtherRank(LocalComm):
    """Rank 1, which hears `told` from rank 0."""

    rank, size = 1, 2

    def __init__(self, told: Any) -> None:
        self.told = told

    def broadcast_json(self, value: Any, name: str) -> Any:
        return self.told


@pytest.mark.parametrize("kind", [InputError, StorageError])
def test_only_rank_0_looks_and_only_rank_0_complains(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind("one line")

    told = []
    monkeypatch.setattr(LocalComm, "broadcast_json", lambda self, value, name: told.append(value))

    monkeypatch.setattr("ml_images.train.job.LET_RANK_0_SPEAK_S", 0.0)
    with pytest.raises(kind, match="one line"):
        from_rank_0(LocalComm(), fail, "x")
    assert told == [{}]
    assert from_rank_0(OtherRank({"value": 5}), fail, "x") == 5
    with pytest.raises(SystemExit) as ended:
        from_rank_0(OtherRank({}), fail, "x")
    assert ended.value.code == 2


def test_warm_up_must_end_within_the_run() -> None:
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs must be less than epochs=5, got 5"):
        TrainJob(output="run", epochs=5, data=DataConfig(path="x"), schedule=ScheduleConfig(warmup_epochs=5))


def test_pictures_that_were_left_out_do_not_reach_the_network(dataset: Path) -> None:
    job = TrainJob(output="x", data=DataConfig(path=str(dataset), batch_size=3, image_size=32))
    inputs, device = read_inputs(job, LocalComm()), torch.device("cpu")
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    task = make_task(job, inputs, model, optimizer, device, LocalComm(), Stages())
    targets = SparseTargets(torch.tensor([0, 1, 1, 2]), torch.tensor([2, 4]), torch.tensor([1.0, 0.5]))
    images = torch.full((3, 3, 32, 32), 200, dtype=torch.uint8)
    images[1] = 0
    batch = Batch(["a", "", "c"], np.arange(3), images, targets, torch.tensor([True, False, True]))
    seen, told = task.inputs(batch, 0)
    assert seen.shape == (2, 3, 32, 32) and (seen > 0).all()
    assert told[0, 2] == 1 and told[1, 4] == 0.5 and told.sum() == 1.5
    nothing, told = task.inputs(batch._replace(mask=torch.zeros(3, dtype=torch.bool)), 0)
    assert len(nothing) == 3 and (told[[0, 1]] != 0).any()  # all ranks make their step all the same
