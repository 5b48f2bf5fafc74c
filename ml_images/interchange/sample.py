"""One row of the data set as it travels between formats, and the rules for labels that come from outside."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.archives.read import Member
from ml_images.schemas import UNKNOWN

Classes = npt.NDArray[np.int32]
Confidences = npt.NDArray[np.float32]

_MAX_CLASS = (1 << 31) - 1
_SHOWN = 500  # characters


@dataclass(frozen=True, eq=False)
class Sample:
    key: str
    image: bytes
    classes: Classes  # ascending, no duplicates
    confidences: Confidences  # in [0, 1], or UNKNOWN
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Found:
    """What a file of another format says of a key: a picture, or why there is none; labels, or None for no word."""

    member: Member
    labels: tuple[Classes, Confidences] | None


def checked_labels(
    classes: npt.NDArray[np.int64] | Sequence[int], confidences: npt.ArrayLike
) -> tuple[Classes, Confidences]:
    """Labels in any order as a row of the table `labels` has them; of a class that is given twice the surer one.

    Raises ValueError where the lists differ in length, or a value is none that the table may hold.
    """
    with np.errstate(over="ignore"):  # 1e300 is refused below, as infinite
        numbers, sure = np.asarray(classes, np.int64), np.asarray(confidences, np.float32)
    if numbers.shape != sure.shape or numbers.ndim != 1:
        raise ValueError(f"{numbers.size} classes and {sure.size} confidences")
    if not len(numbers):
        return numbers.astype(np.int32), sure
    if numbers.min() < 0 or numbers.max() > _MAX_CLASS:
        wrong = numbers[(numbers < 0) | (numbers > _MAX_CLASS)][0]
        raise ValueError(f"class {wrong}, accepted are 0 to {_MAX_CLASS}")
    is_wrong = ~((sure >= 0) & (sure <= 1) | (sure == UNKNOWN))
    if is_wrong.any():
        raise ValueError(f"confidence {sure[is_wrong][0]}, accepted are 0 to 1, or -1 for unknown")
    order = np.lexsort((-sure, numbers))
    numbers, sure = numbers[order], sure[order]
    is_first = np.concatenate(([True], numbers[1:] != numbers[:-1]))
    return numbers[is_first].astype(np.int32), sure[is_first]


def check_classes(classes: Classes, num_classes: int | None) -> None:
    """Raise ValueError where a class is none of the vocabulary's (None: there is no vocabulary)."""
    if num_classes is not None and len(classes) and classes[-1] >= num_classes:
        raise ValueError(f"class {classes[-1]}, the vocabulary has {num_classes}")


def shown(text: str) -> str:
    """A name from outside as a message shows it: not too long, and on one line whatever it holds."""
    return repr(text[:_SHOWN])[1:-1]
