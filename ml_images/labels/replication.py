"""How often an image is shown in an epoch: replication factors that let rare classes be seen more often.

Mahajan et al. 2018 ("Exploring the limits of weakly supervised pretraining", 2.2): r(h) = max(1, phi(t / f(h))) with
phi(z) = z (uniform) or sqrt(z), and r(I) = max of r(h) over the labels h of image I, 1 without any. f(h) is the share
of the images of the train split on which h is present, and t is such a share, too. Factors are real numbers: readers
round by chance, so that an image is shown r(I) times on average. Head classes that stand beside rare ones are seen
more often, too, so the shares that come of it are to be looked at.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.compiled import compiled
from ml_images.errors import InputError
from ml_images.labels.copies import MOST_COPIES
from ml_images.options import option

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReplicationConfig:
    kind: Literal["none", "uniform", "sqrt"] = option(
        "none", "how often train images of rare classes are repeated: threshold/frequency, or its square root"
    )
    threshold: float = option(0.001, "share of the train images below which a class is rare")

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"replication.threshold is a share above 0 and at most 1, got {self.threshold}")


def class_factors(images: Int64, num_images: int, cfg: ReplicationConfig) -> Float64:
    """r(h): float64 (classes). images: of each class, of `num_images` in all. A class without images has 1.

    InputError for a factor above MOST_COPIES.
    """
    factors = np.ones(len(images))
    if cfg.kind == "none":
        return factors
    seen = images > 0
    ratio = cfg.threshold * num_images / images[seen]
    factors[seen] = np.maximum(1, ratio if cfg.kind == "uniform" else np.sqrt(ratio))
    if len(factors) and factors.max() > MOST_COPIES:
        raise InputError(
            f"replication.threshold={cfg.threshold} repeats images of class {factors.argmax()} {factors.max():g} "
            f"times, at most {MOST_COPIES} is possible: lower it"
        )
    return factors


@compiled
def image_factors(offsets: Int64, classes: Int32, confidences: Float32, factors: Float64) -> Float32:
    """r(I): float32 (rows). Row r has labels offsets[r] to offsets[r + 1]; those with a confidence above 0 count."""
    result = np.ones(len(offsets) - 1, np.float32)
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            if confidences[i] > 0 and factors[classes[i]] > result[row]:
                result[row] = factors[classes[i]]
    return result


@compiled
def add_weighted(offsets: Int64, classes: Int32, confidences: Float32, weights: Float32, sums: Float64) -> None:
    """Add to sums, float64 (classes), the weight of each row on each class that is present on it."""
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            if confidences[i] > 0:
                sums[classes[i]] += weights[row]


@dataclass(frozen=True, eq=False)
class Replicated:
    """What replication makes of a train split of `rows` images.

    images: int64 (classes), on which each class is present. factors: r(h). weighted: r(I) added up over the images that
    show each class. epoch: r(I) added up over all: how many images an epoch shows, on average.
    """

    rows: int
    images: Int64
    factors: Float64
    weighted: Float64
    epoch: float

    def table(self) -> pa.Table:
        """By schemas.REPLICATION, a row for each class."""
        classes = np.arange(len(self.images), dtype=np.int32)
        shares = self.images / self.rows
        return pa.table(
            [classes, self.images, shares, self.factors, self.weighted / self.epoch], schema=schemas.REPLICATION
        )

    def summary(self) -> dict[str, Any]:
        """How long an epoch gets, and the shares of images before and after of the rarest class that has images, the
        middle one and the most frequent one."""
        seen = np.flatnonzero(self.images > 0)
        ranked = seen[np.argsort(self.images[seen], kind="stable")]
        told = {"rarest": ranked[:1], "median": ranked[len(ranked) // 2 :][:1], "most frequent": ranked[-1:]}
        return {
            "train_rows": self.rows,
            "epoch_rows": self.epoch,
            "classes_repeated": int((self.factors > 1).sum()),
            "largest_factor": float(self.factors.max()),
            "shares": {
                name: {
                    "class": int(label),
                    "before": float(self.images[label] / self.rows),
                    "after": float(self.weighted[label] / self.epoch),
                }
                for name, found in told.items()
                for label in found
            },
        }
