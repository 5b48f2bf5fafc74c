"""How stored pixels become upright, numbered as EXIF's orientation tag does (1: as they are)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_Pixels = NDArray[np.uint8]

_UPRIGHT: dict[int, Callable[[_Pixels], _Pixels]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),  # a quarter clockwise
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),  # a quarter counter-clockwise
}
_SIDEWAYS = frozenset((5, 6, 7, 8))

# By degrees counter-clockwise, as the column Rotation of Open Images counts them.
BY_ROTATION = {0: 1, 90: 8, 180: 3, 270: 6}


def upright(pixels: _Pixels, orientation: int) -> _Pixels:
    """A view of `pixels` (h, w, ...) as they are to be seen; numbers that EXIF does not know change nothing."""
    return _UPRIGHT[orientation](pixels) if orientation in _UPRIGHT else pixels


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if orientation in _SIDEWAYS else (width, height)
