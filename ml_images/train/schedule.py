"""The learning rate of a step: linear warm-up, then half a cosine down to zero.

Both parts are given in epochs and the peak in images, so a run means the same on any number of ranks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ml_images.options import option

REFERENCE_BATCH = 256  # images; the batch that optim.lr is stated for, as in Goyal et al. 2017 (arXiv 1706.02677)


@dataclass(frozen=True)
class ScheduleConfig:
    warmup_epochs: float = option(5.0, "epochs over which the learning rate rises linearly to its peak")

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < math.inf:
            raise ValueError(f"schedule.warmup_epochs must be >= 0 and finite, got {self.warmup_epochs}")


def peak_lr(lr: float, global_batch: int) -> float:
    """The linear scaling rule (Goyal et al. 2017, section 2.1): `lr` is for 256 images a step, whoever holds them."""
    return lr * global_batch / REFERENCE_BATCH


def factor(step: int, warmup_steps: int, total_steps: int) -> float:
    """Share of the peak in step `step` of `total_steps`, counted from 0; never 0 within the run."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps)))


def lr_schedule(config: ScheduleConfig, peak: float, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """step -> learning rate for a whole run."""
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    return lambda step: peak * factor(step, warmup_steps, epochs * steps_per_epoch)
