"""A model on a validation split: loss and mean average precision over the rows of all ranks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ml_images.train.comm import Comm
from ml_images.train.metrics import rank_classes
from ml_images.train.reader import Batch
from ml_images.train.transforms import Preprocessing, normalise


@dataclass(frozen=True)
class Evaluation:
    rows: int
    loss: float  # mean over images
    mean_average_precision: float
    prior: float  # what random scores would get
    classes_scored: int
    classes_without_positives: int
    left_out: int = 0  # rows whose picture cannot be decoded, where those are skipped

    def __str__(self) -> str:
        return (
            f"validation mAP {self.mean_average_precision:.4f} (random scores {self.prior:.4f}) over "
            f"{self.classes_scored} classes and {self.rows} images, {self.classes_without_positives} classes without "
            f"a positive; loss {self.loss:.4f}" + (f"; {self.left_out} pictures left out" if self.left_out else "")
        )


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    comm: Comm,
    device: torch.device,
    preprocessing: Preprocessing = "standard",
) -> Evaluation:
    """Score `batches`, this rank's part of the split, and join the ranks. What a batch's mask leaves out counts for
    nothing. The model is left in training mode."""
    model.eval()
    scores, targets = [torch.zeros(0, num_classes)], [torch.zeros(0, num_classes)]
    total = 0.0
    with torch.no_grad():
        for batch in batches:
            logits = model(normalise(batch.images.to(device), preprocessing)).float().cpu()[batch.mask]
            told = batch.targets.dense(num_classes, batch.mask, torch.device("cpu"))[batch.mask]
            total += float(loss(logits, told)) * len(told) if len(told) else 0.0
            scores.append(logits)
            targets.append(told)
    model.train()
    ranking = rank_classes(torch.cat(scores), torch.cat(targets), comm)
    total_loss = float(comm.sum(torch.tensor([total], dtype=torch.float64), "evaluation.loss"))
    return Evaluation(
        rows=ranking.rows,
        loss=total_loss / max(1, ranking.rows),
        mean_average_precision=ranking.mean_average_precision,
        prior=ranking.prior,
        classes_scored=int(ranking.scored.sum()),
        classes_without_positives=int((~ranking.scored).sum()),
    )
