"""The learning rate of a step: warm-up, then one of five ways down.

All is given in epochs and the peak in images, so a run means the same on any number of ranks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ml_images.options import option

REFERENCE_BATCH = 256  # images; the batch that optim.lr is stated for, as in Goyal et al. 2017 (arXiv 1706.02677)
DECAY = 0.1  # of `steps` and `ml_images`, each time
STAIRS = 8  # of ML-Images' warm-up: 0.01, x 1.297 each, then 0.08
FIRST_STAIR, STAIR_GROWTH = 0.125, 1.297


@dataclass(frozen=True)
class ScheduleConfig:
    warmup_epochs: float = option(5.0, "epochs over which the learning rate rises to its peak; ML-Images: 8")
    name: Literal["cosine", "linear", "ml_images", "steps", "restarts"] = option(
        "cosine",
        "cosine, linear: to zero; ml_images: its 8 stairs up, then steps; steps: divided by 10; restarts: SGDR",
    )
    decay_every_epochs: float = option(25.0, "of ml_images and steps, counted from the start of the run")
    cycle_epochs: float = option(10.0, "of restarts: the first cosine, after the warm-up")
    cycle_growth: float = option(2.0, "of restarts: how many times longer each cosine is than the one before")

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < math.inf:
            raise ValueError(f"schedule.warmup_epochs must be >= 0 and finite, got {self.warmup_epochs}")
        for name in ("decay_every_epochs", "cycle_epochs"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"schedule.{name} must be > 0 and finite, got {getattr(self, name)}")
        if not 1 <= self.cycle_growth < math.inf:
            raise ValueError(f"schedule.cycle_growth must be >= 1 and finite, got {self.cycle_growth}")


def peak_lr(lr: float, global_batch: int) -> float:
    """The linear scaling rule (Goyal et al. 2017, section 2.1): `lr` is for 256 images a step, whoever holds them."""
    return lr * global_batch / REFERENCE_BATCH


def factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """Share of the peak in step `step` of `total_steps`, counted from 0: a line up, then half a cosine down to zero.

    Never 0 within the run.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return half_cosine(step - warmup_steps, total_steps - warmup_steps)


def half_cosine(step: int, steps: int) -> float:
    """From 1 in step 0 to 0 in step `steps`."""
    return 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


def linear_factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """As `factor` with a line down to zero: how short runs on small pictures end (arXiv 2404.00498)."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (total_steps - step) / max(1, total_steps - warmup_steps)


def ml_images_factor(step: int, warmup_steps: int, decay_steps: int) -> float:
    """Share of the peak in ML-Images' pre-training: 8 stairs of equal length up, then a tenth every `decay_steps`.

    As in train.sh of the release, the step numbered `decay_steps` itself still has the higher rate: 0.08 up to step
    110,000 inclusive, 0.008 from 110,001.
    """
    if step < warmup_steps:
        return FIRST_STAIR * STAIR_GROWTH ** (step * STAIRS // warmup_steps)
    return DECAY ** (max(0, step - 1) // decay_steps)


def steps_factor(step: int, warmup_steps: int, decay_steps: int) -> float:
    """Share of the peak in ML-Images' fine-tuning: a tenth every `decay_steps`, from that step on; a line up before."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return float(DECAY ** (step // decay_steps))


def restarts_factor(step: int, warmup_steps: int, cycle_steps: int, growth: float) -> float:
    """Share of the peak in SGDR (Loshchilov and Hutter 2017, arXiv 1608.03983, section 3): after a line up, cosines one
    after the other, the first of `cycle_steps`, each `growth` times as long as the one before."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    step, length = step - warmup_steps, float(cycle_steps)
    while step >= round(length):
        step -= round(length)
        length *= growth
    return half_cosine(step, round(length))


def lr_schedule(config: ScheduleConfig, peak: float, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """step -> learning rate for a whole run."""

    def steps(epochs: float) -> int:
        return max(1, round(epochs * steps_per_epoch))

    warmup = round(config.warmup_epochs * steps_per_epoch)
    if config.name == "linear":
        return lambda step: peak * linear_factor(step, warmup, epochs * steps_per_epoch)
    if config.name == "ml_images":
        return lambda step: peak * ml_images_factor(step, warmup, steps(config.decay_every_epochs))
    if config.name == "steps":
        return lambda step: peak * steps_factor(step, warmup, steps(config.decay_every_epochs))
    if config.name == "restarts":
        return lambda step: peak * restarts_factor(step, warmup, steps(config.cycle_epochs), config.cycle_growth)
    return lambda step: peak * factor(step, warmup, epochs * steps_per_epoch)
