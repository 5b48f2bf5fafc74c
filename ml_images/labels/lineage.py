"""Which pairs of classes say nothing new, because the hierarchy has one of them above the other."""

import numpy as np
import numpy.typing as npt

from ml_images.hierarchy.ancestors import Ancestors

Int32 = npt.NDArray[np.int32]


def on_one_path(ancestors: Ancestors, class_a: Int32, class_b: Int32) -> npt.NDArray[np.bool_]:
    """For each pair: are both the same class, or is one an ancestor of the other?"""
    num = ancestors.num_classes
    below = np.repeat(np.arange(num, dtype=np.int64), np.diff(ancestors.indptr))
    known = below * num + ancestors.indices  # ascending, since the ancestors of each class are
    a, b = class_a.astype(np.int64), class_b.astype(np.int64)
    return (a == b) | _among(known, a * num + b) | _among(known, b * num + a)


def _among(ascending: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[at] == values
