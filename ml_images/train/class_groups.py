"""Means over groups of classes: by how many training images a class has, and by its depth in the hierarchy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# One band for each power of ten; 100 ends a band because ML-Images trains classes with more than 100 images.
_BAND_ENDS = (0, 10, 100, 1_000, 10_000, 100_000)


def frequency_bands(images: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    """(band of each class, names of the bands) by the number of images that have it: 0, 1-10, 11-100, ..."""
    starts = [0, *(end + 1 for end in _BAND_ENDS)]
    names = ["0", *(f"{start:,}-{end:,}" for start, end in zip(starts[1:-1], _BAND_ENDS[1:], strict=True))]
    return np.searchsorted(_BAND_ENDS, images, side="left"), [*names, f"{starts[-1]:,}-"]


def group_means(
    groups: NDArray[np.int64],
    names: list[str],
    average_precision: NDArray[np.float64],
    prior: NDArray[np.float64],
    scored: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """For each group that has classes: its name, classes, those scored and their mean average precision, and what
    random scores would get. All arrays are (classes,); a class is in groups[class], the number of a name."""
    result = []
    for number, name in enumerate(names):
        of_group = groups == number
        chosen = of_group & scored
        if of_group.any():
            result.append(
                {
                    "group": name,
                    "classes": int(of_group.sum()),
                    "scored": int(chosen.sum()),
                    "mean_average_precision": mean(average_precision[chosen]),
                    "prior": mean(prior[chosen]),
                }
            )
    return result


def mean(values: NDArray[np.float64], weights: NDArray[np.int64] | None = None) -> float | None:
    """None without values: JSON has no NaN."""
    return float(np.average(values, weights=weights)) if len(values) else None
