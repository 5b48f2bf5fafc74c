"""Labels of tests, from the dense targets that people read."""

import numpy as np
from numpy.typing import NDArray

from ml_images.train.known_labels import KnownLabels, know_labels


def labels_of(targets: NDArray[np.float32]) -> KnownLabels:
    """Of targets (images, classes): 1, 0 or UNKNOWN."""
    rows, classes = np.nonzero(targets != 0)
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(targets)))))
    return know_labels(offsets, classes, targets[rows, classes], np.ones(len(targets), np.bool_), "absent")
