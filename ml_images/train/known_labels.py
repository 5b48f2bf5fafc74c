"""Which cells of a score matrix are positive, which count as negative, and which are not known and count for nothing.

A label is positive from a confidence of POSITIVE on, unknown where the table says UNKNOWN, negative otherwise. What a
class that is not listed means is the data set's: absent where somebody looked at all classes (ML-Images as published),
unknown where only listed ones were verified (Open Images; ranking those too gives 20 to 44 % where the paper has 86 %,
specs of Open Images 10.1).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml_images.schemas import UNKNOWN

POSITIVE = 0.5  # least confidence that counts as present

Unlisted = Literal["absent", "unknown"]


@dataclass(frozen=True)
class KnownLabels:
    """Of some images: image i has the positive classes positives[offsets[i]:offsets[i + 1]], ascending.

    told_rows, told_classes: the cells that are exceptions: unknown ones where a class that is not listed is absent,
    known ones where it is unknown.
    """

    offsets: NDArray[np.int64]  # (images + 1)
    positives: NDArray[np.int64]
    told_rows: NDArray[np.int64]
    told_classes: NDArray[np.int64]
    unlisted: Unlisted

    @property
    def images(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows(self) -> NDArray[np.int64]:
        """The image of each of `positives`."""
        return np.repeat(np.arange(self.images), np.diff(self.offsets))

    def known_per_class(self, num_classes: int) -> NDArray[np.int64]:
        """(num_classes,): images in which the class is known to be there or not."""
        told = np.bincount(self.told_classes, minlength=num_classes)
        return told if self.unlisted == "unknown" else self.images - told

    def hide_unknown(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """`scores` (images, classes) with NaN in unknown cells; the array itself where all are known."""
        if self.unlisted == "unknown":
            hidden = np.full_like(scores, np.nan)
            hidden[self.told_rows, self.told_classes] = scores[self.told_rows, self.told_classes]
            return hidden
        if not len(self.told_rows):
            return scores
        hidden = scores.copy()
        hidden[self.told_rows, self.told_classes] = np.nan
        return hidden


def know_labels(
    offsets: NDArray[np.int64],
    classes: NDArray[np.int64],
    confidences: NDArray[np.float32],
    kept: NDArray[np.bool_],
    unlisted: Unlisted,
) -> KnownLabels:
    """The labels of the images that are `kept` (images,); image i has classes[offsets[i]:offsets[i + 1]], each once."""
    lengths = np.diff(offsets)
    rows = np.repeat(np.cumsum(kept) - 1, lengths)
    of_kept = np.repeat(kept, lengths)
    rows, classes, confidences = rows[of_kept], classes[of_kept], confidences[of_kept]
    positive = confidences >= POSITIVE
    order = np.lexsort((classes[positive], rows[positive]))
    counts = np.bincount(rows[positive], minlength=int(kept.sum()))
    told = confidences != UNKNOWN if unlisted == "unknown" else confidences == UNKNOWN
    return KnownLabels(
        np.concatenate(([0], np.cumsum(counts))), classes[positive][order], rows[told], classes[told], unlisted
    )
