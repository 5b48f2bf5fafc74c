from pathlib import Path

import pytest

from ml_images import config
from ml_images.errors import InputError
from ml_images.train.data import DataConfig
from ml_images.train.job import TrainJob
from ml_images.train.schedule import ScheduleConfig, lr_schedule, peak_lr

CONF = Path(__file__).parents[2] / "conf"


def load(*words: str) -> TrainJob:
    return config.load(TrainJob, [*words, "data.path=x", "output=y"], program="train.py")


def test_the_original_recipe_reaches_the_options_that_obey_it() -> None:
    job = load(str(CONF / "train" / "pretrain_ml_images.yaml"))
    assert (job.model.name, job.loss.name, job.schedule.name) == ("ml_images_resnet101", "ml_images", "ml_images")
    rate = lr_schedule(job.schedule, peak_lr(job.optim.lr, 128 * job.data.batch_size), job.epochs, 4400)
    assert [rate(step) for step in (0, 4400, 35_200, 110_001)] == pytest.approx([0.01, 0.01297, 0.08, 0.008])
    job = load(str(CONF / "train" / "finetune_imagenet_224_299.yaml"))
    assert (job.image_sizes, job.data.image_size, job.model.frozen_stages) == ([224, 299], 299, 2)


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
        (
            ["data.path=x", "output=y", "data.augmentation=ml_images"],
            "data.augmentation=ml_images and data.evaluation=standard scale pixels in different ways",
        ),
        (
            ["data.path=x", "output=y", "data.evaluation=ml_images_single"],
            "data.augmentation=standard and data.evaluation=ml_images_single scale pixels in different ways",
        ),
        (["data.path=x", "output=y", "keep_checkpoints=0"], "keep_checkpoints must be >= 1, got 0"),
        (["data.path=x", "output=y", "seed=-1"], r"seed must be in \[0, 2\*\*63\), got -1"),
        (["data.path=x", "output=y", f"seed={2**64}"], r"seed must be in \[0, 2\*\*63\), got 1844"),
        (["data.path=x", "output=y", "optim.lr=.nan"], "optim.lr must be > 0 and finite, got nan"),
        (
            ["data.path=x", "output=y", "loss.name=ml_images", "engine.accumulate=4"],
            "loss.name=ml_images counts each batch as a step: engine.accumulate must be 1, got 4",
        ),
        (
            ["data.path=x", "output=y", "loss.name=two_way", "engine.accumulate=2"],
            "loss.name=two_way compares the images of a batch with each other: engine.accumulate must be 1, got 2",
        ),
        (["data.path=x", "output=y", "engine.accumulate=0"], "engine.accumulate must be >= 1, got 0"),
        (["data.path=x", "output=y", "engine.precision=fp16"], "option 'engine.precision'"),
        (["data.path=x", "output=y", "epochs=many"], "option 'epochs': 'many' was given"),
    ],
)
def test_wrong_options_end_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        config.load(TrainJob, words, program="train.py")


def test_warm_up_must_end_within_the_run() -> None:
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs must be less than epochs=5, got 5"):
        TrainJob(output="run", epochs=5, data=DataConfig(path="x"), schedule=ScheduleConfig(warmup_epochs=5))
