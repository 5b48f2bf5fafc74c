"""A trained network on a split of a data set, as training evaluates it or from ten places, over all ranks."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml_images import schemas
from ml_images.train.class_names import numbers_for_names
from ml_images.train.class_tables import read_hierarchy, read_training_images
from ml_images.train.comm import Comm
from ml_images.train.data import DataConfig, open_reader
from ml_images.train.dataset import Split
from ml_images.train.decode import ChooseCrop, decode_crop
from ml_images.train.evaluation import score
from ml_images.train.known_labels import Unlisted
from ml_images.train.metrics import ClassFacts, Scored, why_not_scored
from ml_images.train.order import EpochOrder
from ml_images.train.plan import evaluation_stretch
from ml_images.train.reader import Batch, Row, SparseTargets
from ml_images.train.trained import Trained
from ml_images.train.transforms import normalise
from ml_images.train.views import choose_views, mean_prediction


def evaluate_trained(
    trained: Trained,
    split: Split,
    data: DataConfig,
    crops: int,
    comm: Comm,
    device: torch.device,
    facts: ClassFacts,
    unlisted: Unlisted,
    scratch: Path | None = None,
) -> Scored:
    """Score the rows of `split` on all ranks; data: how they are read, its image_size is the network's.

    With one crop batches are those of the evaluations of a training run with as many ranks. Raises InputError as
    reading does.
    """
    if crops > 1:  # each view is read by itself, and holds row groups: of one lane a rank, not of all of them
        split = dataclasses.replace(split, lanes=comm.size)
    views = choose_views(trained.preprocessing, crops)
    model = trained.model.to(device)

    def scored() -> Iterator[tuple[Tensor, SparseTargets, Tensor]]:
        for seen in zip(*(_batches(split, data, view, comm) for view in views), strict=True):
            told = [model(normalise(batch.images.to(device), trained.preprocessing)).float().cpu() for batch in seen]
            # The middle of a picture may be whole where a corner is not.
            mask = torch.stack([batch.mask for batch in seen]).all(dim=0)
            yield mean_prediction(told, trained.activation), seen[0].targets.only(mask), mask

    with torch.no_grad(), trained.autocast(device):
        return score(
            scored(),
            split.num_classes,
            comm,
            facts=facts,
            unlisted=unlisted,
            activation=trained.activation,
            scratch=scratch,
        )


def _batches(split: Split, data: DataConfig, view: ChooseCrop, comm: Comm) -> Iterator[Batch]:
    """This rank's rows of the split, of which `view` says what is seen; as data.evaluation_batches."""

    def fill(row: Row, place: int, out: NDArray[np.uint8]) -> None:
        decode_crop(row.image, view, out)

    order = EpochOrder(np.array(split.row_groups, np.int64), split.lanes, None)
    stretch = evaluation_stretch(split.rows, data.batch_size, comm.rank, comm.size)
    return open_reader(split, data).batches(order, stretch, fill)


def class_facts(split: Split, train: Split | None) -> ClassFacts:
    """What the data set of `split` tells about its classes; counts of the training split only where that is given."""
    hierarchy = read_hierarchy(split)
    return ClassFacts(
        training_images=read_training_images(train) if train is not None and train.rows else None,
        depths=hierarchy and hierarchy.depths,
        leaves=hierarchy and hierarchy.leaves,
    )


def per_class_table(found: Scored, image_size: int, names: tuple[str, ...] | None) -> pa.Table:
    """A row a class (schemas.CLASS_SCORES), called by its number where there are no names; nothing of its scores
    without a positive and a negative."""
    num_classes = len(found.positives)
    return pa.table(
        [
            np.arange(num_classes, dtype=np.int32),
            names or numbers_for_names(num_classes),
            np.full(num_classes, image_size, np.int32),
            found.positives,
            found.known,
            *(
                pa.array(of_class, mask=~found.scored)
                for of_class in (found.average_precision, found.best_f1, found.thresholds)
            ),
        ],
        schema=schemas.CLASS_SCORES,
    )


def summarise(report: dict[str, Any]) -> str:
    """What a report of metrics.Scored says, in a line."""
    classes, single = report["classes"], report["single_label"]
    if not classes["scored"]:
        return f"{report['images']} images without mAP: {why_not_scored(classes)}"
    parts = [
        f"mAP {_shown(report['mean_average_precision'])} (random scores {_shown(report['prior'])}) over "
        f"{classes['scored']} of {classes['all']} classes and {report['images']} images",
        f"micro {_shown(report['micro_average_precision'])}",
        f"weighted {_shown(report['weighted_average_precision'])}",
    ]
    if single["images"]:
        parts.append(f"top-1 {_shown(single['top_1'])}, top-5 {_shown(single['top_5'])} of {single['images']}")
    return "; ".join(parts)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
