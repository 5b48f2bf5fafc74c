"""All that is said about a model's scores on a split: average precision, places of the positives, calibration.

Batches are added up on each rank, and ranks meet once, at the end. A class is scored when it has both a positive and a
negative that are known: without a positive there is no average precision, without a negative it is 1 for any model.

A class's images are ranked by the probability of the class. For sigmoids logits have that order; where an image is of
one class (softmax) a logit says nothing without the others of its image, so logarithms of probabilities are ranked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ml_images.train.average_precision import AveragePrecision, average_precisions
from ml_images.train.best_f1 import BestF1
from ml_images.train.calibration import Activation, Calibration, describe_calibration
from ml_images.train.class_groups import frequency_bands, group_means, mean
from ml_images.train.comm import Comm
from ml_images.train.known_labels import KnownLabels
from ml_images.train.score_store import ScoreStore
from ml_images.train.top_k import TopK, describe_top_k


@dataclass(frozen=True)
class ClassFacts:
    """What the report needs to know about the classes; what is None is left out of it.

    training_images: int64 (classes,), images of the training split with the class; depths: int64 (classes,), in the
    hierarchy, roots 0; leaves: bool (classes,), among which top-k accuracy looks for the one right class, None: all.
    """

    training_images: NDArray[np.int64] | None = None
    depths: NDArray[np.int64] | None = None
    leaves: NDArray[np.bool_] | None = None


NO_FACTS = ClassFacts()

_ROUNDING = 1e-4  # of a logit: the same image in another batch, or with other threads, differs by a tenth of it


@dataclass(frozen=True)
class Scored:
    """What was found, on every rank. Arrays are (classes,); average_precision, best_f1 and thresholds are NaN without
    positives. thresholds: probabilities, float32, from which on images are to be kept for the best F1; a little below
    the least score among them, as scores of the same image differ by rounding."""

    images: int
    average_precision: NDArray[np.float64]
    best_f1: NDArray[np.float64]
    thresholds: NDArray[np.float32]
    positives: NDArray[np.int64]
    known: NDArray[np.int64]
    report: dict[str, Any]  # plain JSON, None where there is nothing to take a mean of

    @property
    def scored(self) -> NDArray[np.bool_]:
        return _scored(self.positives, self.known)


class Metrics:
    """Takes the scores of this rank's images, batch by batch, and joins the ranks.

    scratch: folder for scores that do not fit into memory, 4 bytes a cell (see ScoreStore); threads: how many count at
    once. To be closed.
    """

    def __init__(
        self,
        num_classes: int,
        facts: ClassFacts = NO_FACTS,
        activation: Activation = "sigmoid",
        scratch: Path | None = None,
        threads: int = 1,
    ) -> None:
        self._facts, self._activation, self._threads = facts, activation, threads
        self._store = ScoreStore(num_classes, scratch)
        self._top_k, self._calibration = TopK(facts.leaves), Calibration(activation)
        self._known = np.zeros(num_classes, np.int64)
        self._images = 0
        self._classes = [np.zeros(0, np.int64)]  # of the positives
        self._scores = [np.zeros(0, np.float32)]

    def update(self, scores: NDArray[np.float32], labels: KnownLabels) -> None:
        """Add some images: logits (images, classes), all of them for softmax, and what is known about them.

        Raises ValueError for a score that is not finite, StorageError where `scratch` cannot be written.
        """
        assert labels.images == len(scores), f"labels of {labels.images} images, scores of {len(scores)}"
        if not len(scores):
            return
        if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
            row, found = np.argwhere(~np.isfinite(scores))[0]
            raise ValueError(
                f"scores must be finite, got {scores[row, found]} for class {found} of row {row} of a batch"
            )
        if self._activation == "softmax":
            scores = log_softmax(scores)
        scores = labels.hide_unknown(scores)
        self._classes.append(labels.positives)
        self._scores.append(scores[labels.rows, labels.positives])  # a class that is not there ends here, not in a loop
        self._store.add(scores)
        self._top_k.update(scores, labels)
        self._calibration.update(scores, labels)
        self._known += labels.known_per_class(len(self._known))
        self._images += len(scores)

    def result(self, comm: Comm) -> Scored:
        """What was found over the images of all ranks; all of them have to call it."""
        num_classes = len(self._known)
        classes, scores = np.concatenate(self._classes), np.concatenate(self._scores)
        positives = np.bincount(classes, minlength=num_classes)
        counts = comm.sum(
            torch.from_numpy(np.concatenate(([self._images], positives, self._known))), "metrics.classes"
        ).numpy()
        images, (positives, known) = int(counts[0]), np.split(counts[1:], 2)
        top_k = comm.sum(torch.from_numpy(self._top_k.totals()), "metrics.top_k").numpy()
        calibration = comm.sum(torch.from_numpy(self._calibration.totals()), "metrics.calibration").numpy()
        nothing = np.full(num_classes, np.nan)
        found = AveragePrecision(nothing, np.nan, BestF1(nothing, nothing.astype(np.float32)))
        if positives.any():
            found = average_precisions(self._store, classes, scores, num_classes, comm, self._threads)
        report = {
            "images": images,
            **_describe_classes(found, positives, known, self._facts),
            **describe_top_k(top_k),
            "calibration": describe_calibration(calibration),
        }
        cut = torch.from_numpy(found.best.scores) - _ROUNDING
        thresholds = (cut.exp() if self._activation == "softmax" else cut.sigmoid()).numpy()
        return Scored(images, found.per_class, found.best.f1, thresholds, positives, known, report)

    def close(self) -> None:
        self._store.close()


def why_not_scored(classes: Mapping[str, int]) -> str:
    """Why there is no average precision, out of `classes` of a report in which none is scored."""
    return (
        f"no class can be scored: of {classes['all']}, {classes['no_positive']} are without a positive image, "
        f"{classes['no_negative']} without a negative one, {classes['all_unknown']} without either"
    )


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithms of the probabilities, (images, classes); logits that are such logarithms stay as they are.

    Counted in float64, so that probabilities which float32 rounds to 0 or 1 stay apart, down to 1e-16 from 1.
    """
    return torch.from_numpy(logits).double().log_softmax(dim=1).float().numpy()


def _scored(positives: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (positives > 0) & (positives < known)


def _describe_classes(
    found: AveragePrecision, positives: NDArray[np.int64], known: NDArray[np.int64], facts: ClassFacts
) -> dict[str, Any]:
    scored = _scored(positives, known)
    prior = positives / np.maximum(1, known)
    precision = found.per_class
    report: dict[str, Any] = {
        "classes": {
            "all": len(scored),
            "scored": int(scored.sum()),
            "all_unknown": int((known == 0).sum()),
            "no_positive": int(((known > 0) & (positives == 0)).sum()),
            "no_negative": int(((known > 0) & (positives == known)).sum()),
        },
        "cells": {"known": int(known.sum()), "positive": int(positives.sum())},
        "mean_average_precision": mean(precision[scored]),
        "prior": mean(prior[scored]),  # the mean average precision to expect of random scores
        "micro_average_precision": None if np.isnan(found.pooled) else found.pooled,
        "weighted_average_precision": mean(precision[scored], weights=positives[scored]),
    }
    if facts.training_images is not None:
        bands, names = frequency_bands(facts.training_images)
        report["per_training_images"] = group_means(bands, names, precision, prior, scored)
    if facts.depths is not None:
        names = [str(depth) for depth in range(int(facts.depths.max(initial=0)) + 1)]
        report["per_depth"] = group_means(facts.depths, names, precision, prior, scored)
    return report
