"""A box of a picture as a square: bilinear, with or without widening the triangle where the picture shrinks.

Boxes of whole pixels, as random crops are where pictures are decoded at their size, go through torch's kernel for
bytes, which is Pillow's filter in vector instructions and gives the same pixels on every kind of processor: 0.16 ms
from 300x300 to 224, mirrored 0.23. The loops for all others take 0.25 ms, and with numba and LLVM 108 MiB, which a
process that only reads for training does without.
"""

import numpy as np
import torch
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

_resize = torch.ops.aten._upsample_bilinear2d_aa.out  # what functional.interpolate calls, which cannot write into `out`


def resample(
    pixels: UInt8,
    box: tuple[float, float, float, float],
    out: UInt8,
    *,
    antialias: bool = True,
    mirror: bool = False,
    cut: bool = False,
) -> None:
    """Fill `out` (height, width, 3) with `box` (left, upper, right, lower; in pixels, may cut some) of `pixels`.

    antialias: each pixel of the result is a mean of the old ones that lie below a triangle as wide as two new ones (as
    Pillow's BILINEAR), otherwise of two by two neighbours at box * place / size without half a pixel's shift (as
    TensorFlow 1's resize_bilinear, specs 2.4). mirror: left and right change places. cut: without antialias, pixels
    beside the box are not mixed in, as if there were none; with it none are where the box is of whole pixels.
    """
    left, upper, right, lower = map(int, box)
    if antialias and (left, upper, right, lower) == box:
        _resize_whole(pixels[upper:lower, left:right], out, mirror)
        return
    from ml_images.train.resample_loops import resample_by_loops  # numba takes 0.4 s and 108 MiB before its first loop

    resample_by_loops(pixels, box, out, antialias, mirror, cut)


def _resize_whole(pixels: UInt8, out: UInt8, mirror: bool) -> None:
    height, width = out.shape[:2]
    _resize(_as_batch(pixels), [height, width], False, None, None, out=_as_batch(out))
    if mirror:
        whole_pixels = out.view("V3")
        whole_pixels[...] = whole_pixels[:, ::-1].copy()


def _as_batch(pixels: UInt8) -> torch.Tensor:
    """(1, 3, height, width), channels last in memory, as the fast kernel wants them."""
    whole = np.ascontiguousarray(pixels)
    return torch.from_numpy(whole.reshape(1, *whole.shape)).permute(0, 3, 1, 2)


def reflect(pixels: UInt8, at: tuple[int, int], size: tuple[int, int], box: tuple[int, int, int, int]) -> UInt8:
    """The pixels in `box` (left, upper, right, lower) of a picture of `size` (width, height) that goes on as its mirror
    image: left of its first column comes its second. pixels: those from `at` (x, y) on, all that this needs."""
    left, upper, right, lower = box
    columns, rows = _mirrored(np.arange(left, right), size[0]), _mirrored(np.arange(upper, lower), size[1])
    return pixels[(rows - at[1])[:, None], columns - at[0]]


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Which of `size` pixels of a line stands at each place."""
    last = size - 1
    return last - abs(last - places % max(1, 2 * last))
