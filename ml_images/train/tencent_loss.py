"""The loss of ML-Images' pre-training: classes weighted by how long they have been there, or not, in recent steps.

A class that has had a positive in each of the last steps, such as "object", comes down to a weight of 0.01; one that
has none is trained in a random tenth of the steps only, and hardly. Two variants: `released_code`, what train.py of
the release does (matched to 1e-5 by recorded steps of it), and `paper`, the formula of arXiv 1901.01703. They differ in
the least weight of negatives (0.001, 0.01), in what a run of steps without positives counts (only those in which the
class was selected; all) and in the targets (confidences; present or not).

What "a step has a positive" means on many ranks: one anywhere (`counters=global`: N ranks with B / N images do what one
with B does), or one on this rank. The original's multi-GPU code was never published. A class of 1,202 images, the
median, is in 24 % of batches of 4,096 images, but in 0.2 % of those of 32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ml_images.options import option
from ml_images.train.cell_losses import mean_over_images, shown
from ml_images.train.chance import mixed, stream
from ml_images.train.comm import Comm
from ml_images.train.targets import Targets

Variant = Literal["released_code", "paper"]
LEAST_WEIGHT = 0.01
LEAST_NEGATIVE_WEIGHT: dict[Variant, float] = {"released_code": 0.001, "paper": 0.01}
_ODD = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's distance between the counters of a stream


@dataclass(frozen=True)
class MlImagesConfig:
    variant: Variant = option("released_code", "released_code: what the release does; paper: its formula")
    counters: Literal["global", "rank"] = option(
        "global",
        "global: a positive on any rank counts, as with one process; rank: on this one, each counts for itself",
    )
    present_from: float = option(0.7, "least confidence that makes a class present in a step")
    selected_share: float = option(0.1, "share of steps in which a class without a positive is trained")
    positive_weight: float = option(12.0, "factor of the positive part of each cell")

    def __post_init__(self) -> None:
        for name, value in (("present_from", self.present_from), ("selected_share", self.selected_share)):
            if not 0 < value <= 1:
                raise ValueError(f"loss.ml_images.{name} must be in (0, 1], got {value}")
        if not 0 < self.positive_weight < float("inf"):
            raise ValueError(f"loss.ml_images.positive_weight must be > 0 and finite, got {self.positive_weight}")


class Runs(NamedTuple):
    """How many steps each class has been in its present state, this one included: int32 (classes,) each."""

    positive: Tensor  # steps with a positive, since the last one without
    negative: Tensor  # steps without, since the last one with a positive; what counts as one depends on the variant


def advance(runs: Runs, present: Tensor, selected: Tensor, variant: Variant) -> Runs:
    """The runs after a step in which `present` had a positive and `selected` were drawn: bool (classes,) both."""
    counted = selected if variant == "released_code" else torch.ones_like(selected)
    return Runs((runs.positive + 1) * present, (runs.negative + counted) * ~present)


def class_weights(runs: Runs, present: Tensor, selected: Tensor, variant: Variant) -> Tensor:
    """float32 (classes,): log10(10 / (0.01 + run)) for classes that are present, log10(10 / (8 + run)) for selected
    others, neither below its least weight; 0 for those that are neither. `runs` include the step."""
    positive = (1 - torch.log10(0.01 + runs.positive)).clamp(min=LEAST_WEIGHT)
    negative = 1 - torch.log10(8.0 + runs.negative)
    negative = torch.where(negative > LEAST_WEIGHT, negative, LEAST_NEGATIVE_WEIGHT[variant])
    return torch.where(present, positive, negative * selected)


class ClassSelection:
    """Which classes are drawn in a step: a function of seed and step, so that all ranks and a resumed run agree."""

    def __init__(self, seed: int, share: float, num_classes: int) -> None:
        self._seed, self._share = seed, share
        self._counters = np.arange(1, num_classes + 1, dtype=np.uint64) * _ODD

    def __call__(self, step: int) -> Tensor:
        """bool (classes,); each class is in it with the probability `share`."""
        chances = mixed(np.uint64(stream(self._seed, step)) + self._counters) >> np.uint64(11)
        return torch.from_numpy(chances * 2.0**-53 < self._share)


class MlImagesLoss(nn.Module):
    """The weighted loss. One call is one step: it counts, and waits for the other ranks.

    Its counters are buffers and belong into checkpoints, int32 (classes,). With `counters=rank`, where each rank has
    its own, all ranks keep those of all, (ranks, classes), so that the checkpoint that one of them writes is whole.
    """

    positive_run: Tensor
    negative_run: Tensor
    steps: Tensor

    def __init__(self, config: MlImagesConfig, num_classes: int, comm: Comm, select: Callable[[int], Tensor]) -> None:
        super().__init__()
        self._config, self._comm, self._select = config, comm, select
        shape = (num_classes,) if config.counters == "global" else (comm.size, num_classes)
        self.register_buffer("positive_run", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("negative_run", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: Tensor, targets: Targets) -> Tensor:
        """`logits` (batch, classes) -> the mean over images of the weighted sum over known cells; a step is counted."""
        confident = (targets.values >= self._config.present_from) & targets.known
        weights = self._count_step(confident.any(dim=0))
        values = targets.values if self._config.variant == "released_code" else confident.to(targets.values.dtype)
        x = shown(logits, targets.known)
        factor = torch.tensor(self._config.positive_weight, device=x.device)
        cells = binary_cross_entropy_with_logits(x, values, reduction="none", pos_weight=factor)
        return mean_over_images(cells * weights, targets.known)

    @torch.no_grad()
    def _count_step(self, present: Tensor) -> Tensor:
        """Count a step in which this rank has positives of the classes `present`; the weights of the classes in it."""
        if self._config.counters == "global":
            # 32 bits a class, 45 kB for 11,166: a byte would overflow at 256 ranks.
            present = self._comm.sum(present.to(torch.int32), "loss.present") > 0
        else:
            present = self._comm.gather(present.to(torch.uint8)[None], "loss.present") > 0
        selected = self._select(int(self.steps)).to(present.device)
        runs = advance(Runs(self.positive_run, self.negative_run), present, selected, self._config.variant)
        self.positive_run.copy_(runs.positive)
        self.negative_run.copy_(runs.negative)
        self.steps += 1
        weights = class_weights(runs, present, selected, self._config.variant)
        return weights if weights.ndim == 1 else weights[self._comm.rank]

    def fitted(self, counters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state_dict that another number of ranks may have left, for those that there are now: with counters of its
        own rank r goes on with those of rank r, modulo the former ranks."""
        if self._config.counters == "global":
            return dict(counters)
        ranks = torch.arange(self._comm.size)

        def rows(runs: Tensor) -> Tensor:
            of_ranks = runs if runs.ndim > 1 else runs[None]  # one row in early checkpoints: rank 0's
            return of_ranks[ranks % len(of_ranks)]

        return {name: rows(tensor) if name.endswith("_run") else tensor for name, tensor in counters.items()}

    def fit_ranks(self) -> None:
        """Make the counters those of as many ranks as there are now (see fitted)."""
        counters = self.fitted(self.state_dict())
        self.positive_run, self.negative_run = counters["positive_run"], counters["negative_run"]
