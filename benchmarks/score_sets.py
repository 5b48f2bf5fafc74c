"""Scores and labels of a made-up evaluation, in pieces that any process can make by itself.

How often classes occur follows ML-Images: the quantiles of its images per class. A score is what a trained sigmoid
model gives: the logit of the class's share of images, less 1, and noise of 1.5; positives are 5 above that.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE_ROWS = 256
# Images per class of ML-Images by quantile of its classes, of 17,609,752 images; 342 of 11,166 classes have none.
_QUANTILES = (0.0, 0.0306, 0.0307, 0.04, 0.13, 0.27, 0.51, 0.76, 0.9, 0.99, 0.9991, 0.9996, 1.0)
_IMAGES = (
    0.1,
    0.1,
    1.0,
    12.0,
    649.0,
    958.0,
    1_202.0,
    1_552.0,
    6_911.0,
    184_420.0,
    2_295_964.0,
    6_300_092.0,
    13_217_523.0,
)
_ALL_IMAGES = 17_609_752
_OFTEN = 0.02  # share of images; for rarer classes an image drawn twice does not matter


class Piece(NamedTuple):
    """Of PIECE_ROWS images or, at the end, fewer: image i has classes[offsets[i]:offsets[i + 1]], ascending."""

    scores: NDArray[np.float32]  # (images, classes)
    offsets: NDArray[np.int64]
    classes: NDArray[np.int64]


@functools.cache
def _noise() -> NDArray[np.float32]:
    """From which every image takes a stretch: to draw a billion numbers anew would take longer than all else."""
    return np.float32(1.5) * np.random.default_rng(3).standard_normal(1 << 22, np.float32)


def pieces(rows: int) -> int:
    return -(-rows // PIECE_ROWS)


@functools.cache
def shares(classes: int) -> NDArray[np.float64]:
    """The share of images that have each class, rare ones and frequent ones mixed."""
    quantiles = (np.arange(classes) + 0.5) / classes
    ascending = np.exp(np.interp(quantiles, _QUANTILES, np.log(_IMAGES))) / _ALL_IMAGES
    return np.random.default_rng(1).permutation(ascending)


def make_piece(number: int, rows: int, classes: int) -> Piece:
    """Piece `number` of an evaluation of `rows` images."""
    chance = np.random.default_rng([2, number])
    images = min(PIECE_ROWS, rows - number * PIECE_ROWS)
    share = shares(classes)
    often = np.flatnonzero(share > _OFTEN)
    rarely = np.where(share > _OFTEN, 0.0, share)
    drawn = np.repeat(np.arange(classes), chance.binomial(images, rarely))
    dense_images, dense_classes = np.nonzero(chance.random((images, len(often))) < share[often])
    image = np.concatenate((chance.integers(0, images, len(drawn)), dense_images))
    cells = np.unique(image * classes + np.concatenate((drawn, often[dense_classes])))
    noise = _noise()
    scores = np.empty((images, classes), np.float32)
    for row, start in zip(scores, chance.integers(0, len(noise) - classes, images), strict=True):
        row[:] = noise[start : start + classes]
    scores += (np.log(share / (1 - share)) - 1).astype(np.float32)
    scores.ravel()[cells] += np.float32(5)
    offsets = np.searchsorted(cells, np.arange(images + 1) * classes)
    return Piece(scores, offsets, cells % classes)
