"""A model on a validation split: its loss, and the metrics, over the rows of all ranks."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ml_images.schemas import UNKNOWN
from ml_images.train.calibration import Activation
from ml_images.train.comm import Comm
from ml_images.train.known_labels import KnownLabels, Unlisted, know_labels
from ml_images.train.metrics import NO_FACTS, ClassFacts, Metrics, Scored, why_not_scored
from ml_images.train.reader import Batch, SparseTargets
from ml_images.train.targets import from_sparse
from ml_images.train.transforms import Preprocessing, normalise


@dataclass(frozen=True)
class Evaluation:
    """What a training run says about its validation split; `report` has all of it, see metrics.Scored."""

    rows: int
    loss: float  # mean over images
    mean_average_precision: float | None  # over the scored classes, None without any
    prior: float | None  # what random scores would get
    classes_scored: int
    classes_without_positives: int
    left_out: int = 0  # rows whose picture cannot be decoded, where those are skipped
    not_finite: int = 0  # rows of which a score is no finite number, and that count as 0 here
    report: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        left_out = f"; {self.left_out} pictures left out" if self.left_out else ""
        if self.mean_average_precision is None:
            why = why_not_scored(self.report["classes"])
            return f"validation of {self.rows} images without mAP: {why}; loss {self.loss:.4f}{left_out}"
        return (
            f"validation mAP {self.mean_average_precision:.4f} (random scores {self.prior:.4f}) over "
            f"{self.classes_scored} classes and {self.rows} images, {self.classes_without_positives} classes without "
            f"a positive; loss {self.loss:.4f}{left_out}"
        )


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    comm: Comm,
    device: torch.device,
    preprocessing: Preprocessing = "standard",
    facts: ClassFacts = NO_FACTS,
    scratch: Path | None = None,
    unlisted: Unlisted = "absent",
    activation: Activation = "sigmoid",
) -> Evaluation:
    """Score `batches`, this rank's part of the split, and join the ranks. What a batch's mask leaves out counts for
    nothing. The model is left in training mode. The last four: as for `score`."""
    total, not_finite = 0.0, 0

    def scored_batches() -> Iterable[tuple[Tensor, SparseTargets, Tensor]]:
        nonlocal total, not_finite
        for batch in batches:
            logits = model(normalise(batch.images.to(device), preprocessing)).float().cpu()
            not_finite += int((~torch.isfinite(logits).all(dim=1) & batch.mask).sum())
            logits = logits.nan_to_num(0.0, 0.0, 0.0)  # for ranks to come to an end together
            targets = from_sparse(batch.targets, num_classes, batch.mask, torch.device("cpu"), unlisted)
            told = targets.values.masked_fill(~targets.known, UNKNOWN)[batch.mask]
            total += float(loss(logits[batch.mask], told)) * len(told) if len(told) else 0.0
            yield logits, batch.targets, batch.mask

    model.eval()
    with torch.no_grad():
        found = score(
            scored_batches(),
            num_classes,
            comm,
            facts=facts,
            unlisted=unlisted,
            activation=activation,
            scratch=scratch,
        )
    model.train()
    total_loss, of_all = comm.sum(torch.tensor([total, not_finite], dtype=torch.float64), "evaluation.loss").tolist()
    classes = found.report["classes"]
    return Evaluation(
        rows=found.images,
        loss=total_loss / max(1, found.images),
        mean_average_precision=found.report["mean_average_precision"],
        prior=found.report["prior"],
        classes_scored=classes["scored"],
        classes_without_positives=classes["no_positive"] + classes["all_unknown"],
        not_finite=int(of_all),
        report=found.report,
    )


def score(
    batches: Iterable[tuple[Tensor, SparseTargets, Tensor]],
    num_classes: int,
    comm: Comm,
    *,
    facts: ClassFacts = NO_FACTS,
    unlisted: Unlisted = "absent",
    activation: Activation = "sigmoid",
    scratch: Path | None = None,
) -> Scored:
    """The metrics of `batches`, this rank's: logits float32 (images, classes), targets, and the mask of the images that
    count. unlisted: what a class means that an image's targets do not name; the others as for Metrics."""
    with closing(Metrics(num_classes, facts, activation, scratch, torch.get_num_threads())) as metrics:
        for logits, targets, mask in batches:
            metrics.update(logits[mask].numpy(), known_labels(targets, mask, unlisted))
        return metrics.result(comm)


def known_labels(targets: SparseTargets, mask: Tensor, unlisted: Unlisted) -> KnownLabels:
    """What is known about the images that `mask` keeps."""
    offsets, classes, confidences = (part.numpy() for part in targets)
    return know_labels(offsets, classes, confidences, mask.numpy(), unlisted)
