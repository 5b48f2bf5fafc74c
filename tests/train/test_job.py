from pathlib import Path
from typing import Any

import pytest

from ml_images import config
from ml_images.errors import InputError
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.dataset import EpochPlan
from ml_images.train.job import TrainJob, continue_from, from_rank_0, read_inputs
from ml_images.train.schedule import ScheduleConfig

CONF = Path(__file__).parents[2] / "conf"
JOB = TrainJob(output="run", epochs=10, data=DataConfig(path="data"))


def at(epoch: int, step_in_epoch: int) -> Checkpoint:
    return Checkpoint(Position(epoch, step_in_epoch, steps_per_epoch=8, ranks=2), None, {}, {})


def plan(steps: int, size: int) -> EpochPlan:
    return EpochPlan(rows=1000, steps=steps, batch_size=4, size=size)


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
        (["data.path=x", "output=y", "epochs=many"], "option 'epochs': 'many' was given"),
    ],
)
def test_wrong_options_end_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        config.load(TrainJob, words, program="train.py")


def test_a_run_goes_on_in_the_middle_of_an_epoch_under_the_same_plan_only() -> None:
    assert continue_from(at(3, 5), plan(8, 2), JOB).step == 3 * 8 + 5
    for changed in (plan(4, 4), plan(8, 1), plan(7, 2)):
        with pytest.raises(InputError, match="in the middle of an epoch of 8 steps on 2 ranks"):
            continue_from(at(3, 5), changed, JOB)


def test_between_epochs_the_number_of_ranks_may_change() -> None:
    assert continue_from(at(3, 0), plan(4, 4), JOB) == Position(3, 0, 4, 4)


def test_a_run_does_not_go_back_to_fewer_epochs() -> None:
    with pytest.raises(InputError, match="has 11 epochs behind it, epochs=10 asks for fewer"):
        continue_from(at(11, 0), plan(8, 2), JOB)
    assert continue_from(at(10, 0), plan(8, 2), JOB).epoch == 10


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


def test_only_rank_0_looks_and_only_rank_0_complains(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise InputError("one line")

    monkeypatch.setattr("ml_images.train.job.LET_RANK_0_SPEAK_S", 0.0)
    with pytest.raises(InputError, match="one line"):
        from_rank_0(LocalComm(), fail, "x")
    assert from_rank_0(OtherRank({"value": 5}), fail, "x") == 5
    with pytest.raises(SystemExit) as ended:
        from_rank_0(OtherRank({}), fail, "x")
    assert ended.value.code == 2


def test_warm_up_must_end_within_the_run() -> None:
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs must be less than epochs=5, got 5"):
        TrainJob(output="run", epochs=5, data=DataConfig(path="x"), schedule=ScheduleConfig(warmup_epochs=5))
