"""What a loss is told about a batch: a confidence for each cell, which cells are known, which rows count.

Targets travel as lists of classes and become dense on the device. A class that an image does not list is absent in
data that were annotated for every class, and unknown in data that were not (Open Images): the caller says which.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ml_images.schemas import UNKNOWN
from ml_images.train.reader import SparseTargets


class Targets(NamedTuple):
    """A batch as dense tensors on one device. Cells of rows that do not count are not known either."""

    values: Tensor  # float32 (batch, classes): confidence that the class is there, in [0, 1]; 0 where not known
    known: Tensor  # bool (batch, classes)
    rows: Tensor  # bool (batch,): False for padding and for pictures that could not be decoded


def from_dense(told: Tensor, rows: Tensor) -> Targets:
    """Targets out of float32 (batch, classes) of confidences and UNKNOWN, and the mask `rows` (batch,)."""
    known = (told != UNKNOWN) & rows.unsqueeze(1)
    return Targets(told.masked_fill(~known, 0.0), known, rows)


def from_sparse(
    sparse: SparseTargets,
    num_classes: int,
    rows: Tensor,
    device: torch.device,
    unlisted: Literal["absent", "unknown"] = "absent",
) -> Targets:
    """Targets on `device` out of lists and a mask on the CPU; `unlisted` is what a class is that a row doesn't list."""
    batch = len(sparse.offsets) - 1
    told = torch.full((batch, num_classes), 0.0 if unlisted == "absent" else UNKNOWN, device=device)
    row = torch.repeat_interleave(torch.arange(batch), sparse.offsets.diff())
    cells = (row * num_classes + sparse.classes).to(device, non_blocking=True)
    told.view(-1)[cells] = sparse.confidences.to(device, non_blocking=True)
    return from_dense(told, rows.to(device, non_blocking=True))
