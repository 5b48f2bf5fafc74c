"""Which loss is trained. All take logits (batch, classes) and `Targets` and give one convention's mean: the sum over
classes, averaged over all rows of the batch; so a learning rate that suits one suits the others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ml_images.options import option
from ml_images.train.balanced_loss import BalancedConfig, BalancedLoss
from ml_images.train.calibration import Activation
from ml_images.train.cell_losses import AsymmetricConfig, CellwiseLoss, FocalConfig, asymmetric, bce, focal
from ml_images.train.comm import Comm
from ml_images.train.label_counts import LabelCounts
from ml_images.train.partial_labels import SelectiveConfig, SelectiveLoss
from ml_images.train.single_label import SoftmaxConfig, SoftmaxLoss
from ml_images.train.targets import from_dense
from ml_images.train.tencent_loss import ClassSelection, MlImagesConfig, MlImagesLoss
from ml_images.train.two_way import TwoWayConfig, TwoWayLoss

# Losses that are no mean over images: of a batch in pieces they are not the mean of those of the pieces.
WHOLE_STEPS = {
    "ml_images": "counts each batch as a step",
    "two_way": "compares the images of a batch with each other",
}
Name = Literal["bce", "ml_images", "focal", "asymmetric", "two_way", "distribution_balanced", "softmax"]


@dataclass(frozen=True)
class LossConfig:
    name: Name = option("bce", "sigmoid cross-entropy, or one of those below, each with a section of its own")
    unlisted: Literal["negative", "ignore", "selective"] = option(
        "negative", "what a class is that an image does not list: absent; unknown; absent unless doubtful"
    )
    ml_images: MlImagesConfig = field(default_factory=MlImagesConfig)
    focal: FocalConfig = field(default_factory=FocalConfig)
    asymmetric: AsymmetricConfig = field(default_factory=AsymmetricConfig)
    selective: SelectiveConfig = field(default_factory=SelectiveConfig)
    two_way: TwoWayConfig = field(default_factory=TwoWayConfig)
    distribution_balanced: BalancedConfig = field(default_factory=BalancedConfig)
    softmax: SoftmaxConfig = field(default_factory=SoftmaxConfig)

    def __post_init__(self) -> None:
        if self.unlisted == "selective" and self.name != "asymmetric":
            raise ValueError(f"loss.unlisted=selective is of loss.name=asymmetric only, got {self.name}")
        if self.unlisted != "negative" and self.name == "softmax":
            raise ValueError(f"loss.name=softmax needs loss.unlisted=negative, got {self.unlisted}")

    @property
    def unlisted_is(self) -> Literal["absent", "unknown"]:
        """What `targets.from_sparse` has to make of unlisted classes."""
        return "absent" if self.unlisted == "negative" else "unknown"

    @property
    def activation(self) -> Activation:
        """What turns the logits of a model trained with it into probabilities."""
        return "softmax" if self.name == "softmax" else "sigmoid"

    @property
    def needs_counts(self) -> bool:
        """Whether `make_loss` wants the label counts of the training split."""
        return self.name == "distribution_balanced" or self.unlisted == "selective"


def make_loss(
    config: LossConfig, num_classes: int, comm: Comm, counts: LabelCounts | None = None, seed: int = 0
) -> nn.Module:
    """The loss of `config`: (logits, Targets) -> scalar; on every rank with the same arguments. `counts` only
    where `config.needs_counts`.

    What its state_dict holds (counters of `ml_images`) belongs into checkpoints. `seed` decides what it draws.
    """
    assert counts is None or len(counts.positives) == num_classes
    if config.name == "ml_images":
        select = ClassSelection(seed, config.ml_images.selected_share, num_classes)
        return MlImagesLoss(config.ml_images, num_classes, comm, select)
    if config.name == "two_way":
        return TwoWayLoss(config.two_way, comm)
    if config.name == "distribution_balanced":
        assert counts is not None
        return BalancedLoss(config.distribution_balanced, counts)
    if config.name == "softmax":
        return SoftmaxLoss(config.softmax)
    if config.unlisted == "selective":
        assert counts is not None
        return SelectiveLoss(config.selective, config.asymmetric, counts.prior())
    if config.name == "asymmetric":
        return CellwiseLoss(partial(asymmetric, config=config.asymmetric))
    if config.name == "focal":
        return CellwiseLoss(partial(focal, gamma=config.focal.gamma, alpha=config.focal.alpha))
    return CellwiseLoss(bce)


def evaluation_loss(config: LossConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that a model trained with `config` is evaluated with, comparable between losses: cross-entropy of the
    softmax, or of the sigmoids. (logits, confidences or UNKNOWN) -> mean over images; no state, no communication."""
    if config.name != "softmax":
        return multilabel_bce
    loss = SoftmaxLoss(SoftmaxConfig())
    return lambda logits, told: loss(logits, from_dense(told, _all_rows(told)))


def multilabel_bce(logits: Tensor, told: Tensor) -> Tensor:
    """Sigmoid cross-entropy with soft targets: sum over classes, mean over images (the convention of ML-Images).

    `logits` and `told` are (batch, classes), the latter in [0, 1] or UNKNOWN. Unknown cells add nothing and get no
    gradient; they still count as part of their image in the mean.
    """
    return CellwiseLoss(bce)(logits, from_dense(told, _all_rows(told)))


def _all_rows(told: Tensor) -> Tensor:
    return torch.ones(len(told), dtype=torch.bool, device=told.device)
