"""Random numbers by counting: draw d of row r is a function of (key, r, d) alone, so any block can be made anywhere.

splitmix64 (Steele, Lea, Flood 2014: "Fast splittable pseudorandom number generators"), its finaliser applied twice.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from ml_images.compiled import compiled

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32, _11 = (np.uint64(bits) for bits in (27, 30, 31, 32, 11))
_UNIT = 1.0 / (1 << 53)


def stream_key(seed: int, name: str) -> np.uint64:
    """The key of an independent stream of numbers."""
    return np.uint64(int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest(), "little"))


@compiled
def _mixed(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@compiled
def bits(key: np.uint64, row: int, draw: int) -> np.uint64:
    """64 random bits."""
    return _mixed(_mixed(key + np.uint64(row) * _STEP) + np.uint64(draw + 1) * _STEP)


@compiled
def below(key: np.uint64, row: int, draw: int, limit: int) -> np.int64:
    """A whole number in [0, limit), limit < 2^32."""
    return np.int64(((bits(key, row, draw) >> _32) * np.uint64(limit)) >> _32)


@compiled
def unit(key: np.uint64, row: int, draw: int) -> float:
    """A number in [0, 1)."""
    return float(np.float64(bits(key, row, draw) >> _11) * _UNIT)


@compiled
def units(key: np.uint64, first: int, rows: int, draw: int) -> npt.NDArray[np.float64]:
    """`unit` of the rows first .. first + rows - 1."""
    numbers = np.empty(rows, np.float64)
    for r in range(rows):
        numbers[r] = unit(key, first + r, draw)
    return numbers
