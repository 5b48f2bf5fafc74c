"""What a worker does with a batch of pictures and a trained network: the columns of predictions, or of features.

The network is loaded once in a process and kept, whatever number of tasks come; nothing here knows who hands out
pictures.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_images import schemas
from ml_images.options import option
from ml_images.train.picture_model import PictureModel
from ml_images.train.trained import Trained, choose_device, load_trained
from ml_images.train.views import check_crops


class Applied(NamedTuple):
    """outcomes: one a picture; columns: of those that are ok, in their order."""

    outcomes: list[str]
    columns: list[pa.Array]


Apply = Callable[[Sequence[bytes]], Applied]


@dataclass(frozen=True)
class TopConfig:
    """Which classes of a picture are told."""

    top: int = option(50, "classes of a picture that are kept, those with the highest scores; 0: all of them")
    above: float = option(0.0, "keep a class where its score is strictly above this, from 0 to 1; 0: whatever it is")
    thresholds: str = option(
        "",
        "table per_class of jobs/evaluate.py, or a Parquet file with columns class and threshold: keep a class where "
        "its score is at least its threshold; `above` is for those without one",
    )
    crops: int = option(1, "1: the middle of a picture; 10: the mean over corners, middle and their mirror images")

    def __post_init__(self) -> None:
        if self.top < 0:
            raise ValueError(f"top must be >= 0, got {self.top}")
        if not 0 <= self.above < 1:
            raise ValueError(f"above must be in [0, 1), got {self.above}")
        check_crops(self.crops)


class Best(NamedTuple):
    """Picture i has the classes classes[offsets[i]:offsets[i + 1]], highest score first, and as many scores."""

    offsets: NDArray[np.int32]
    classes: NDArray[np.int32]
    scores: NDArray[np.float32]


def best_classes(scores: Tensor, top: int, least: NDArray[np.float32]) -> Best:
    """Of `scores` in [0, 1], (pictures, classes), the `top` highest, 0: all, that are at least `least` (classes,); of
    equal scores the lower class comes first."""
    ordered, classes = scores.where(scores >= torch.from_numpy(least), -1).sort(dim=1, descending=True, stable=True)
    kept = ordered >= 0
    if top:
        kept[:, top:] = False
    offsets = torch.nn.functional.pad(kept.sum(dim=1).cumsum(dim=0), (1, 0))
    return Best(offsets.int().numpy(), classes[kept].int().numpy(), ordered[kept].numpy())


def probabilities(logits: Tensor, trained: Trained) -> Tensor:
    """Scores in [0, 1], (pictures, classes): each for itself, or adding up to 1 where an image is of one class."""
    return logits.softmax(dim=1) if trained.activation == "softmax" else logits.sigmoid()


def predict(
    top: int,
    crops: int,
    least: NDArray[np.float32],
    names: tuple[str, ...],
    checkpoint: str,
    threads: int,
    gpu: int,
) -> Apply:
    """Columns classes and scores (see best_classes), and the classes' names where `names` has them. gpu: its number, -1
    for any."""
    trained, model = _loaded(checkpoint, threads, gpu, crops)

    def apply(pictures: Sequence[bytes]) -> Applied:
        seen = model.logits(pictures)
        offsets, classes, scores = best_classes(probabilities(seen.values, trained), top, least)
        columns: list[pa.Array] = [pa.array(classes), pa.array(scores)]
        if names:
            columns.append(pa.array([names[number] for number in classes.tolist()], pa.string()))
        return Applied(seen.outcomes, [pa.ListArray.from_arrays(offsets, column) for column in columns])

    return apply


def extract_features(checkpoint: str, threads: int, gpu: int) -> Apply:
    """Column features: what the head is given. gpu: its number, -1 for any."""
    _, model = _loaded(checkpoint, threads, gpu, 1)

    def apply(pictures: Sequence[bytes]) -> Applied:
        seen = model.features(pictures)
        flat = pa.array(seen.values.contiguous().view(-1).numpy())
        return Applied(seen.outcomes, [pa.FixedSizeListArray.from_arrays(flat, seen.values.shape[1])])

    return apply


def predictions_schema(with_names: bool) -> pa.Schema:
    """schemas.PREDICTIONS, with one more column where names are told."""
    if not with_names:
        return schemas.PREDICTIONS
    return schemas.PREDICTIONS.append(pa.field("names", pa.list_(pa.string()), nullable=False))


@functools.lru_cache(maxsize=1)  # a notebook may go from one network to the next
def _loaded(checkpoint: str, threads: int, gpu: int, crops: int) -> tuple[Trained, PictureModel]:
    torch.set_num_threads(threads)
    trained = load_trained(Path(checkpoint))
    return trained, PictureModel(trained, choose_device(max(0, gpu)), threads, crops)
