"""Random numbers that are a function of what they are for: (seed, epoch, ...), never of who asked before.

SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17) over counters:
equal on every machine and with every version of Python and numpy, whose own generators promise neither.
"""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Chance:
    """A stream of random numbers, told apart by `words`: integers of up to 64 bits."""

    def __init__(self, *words: int) -> None:
        self._state = stream(*words)

    def uniform(self, low: float, high: float) -> float:
        """From [low, high)."""
        return low + (high - low) * (self._next() >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """From 0 to count - 1; count is far below 2^32, so that what multiplying favours cannot be seen."""
        return self._next() * count >> 64

    def _next(self) -> int:
        self._state = (self._state + _STEP) & _MASK
        return _mix(self._state)


def stream(*words: int) -> int:
    """Where the stream of `words` begins."""
    state = 0
    for word in words:
        state = _mix((state ^ word) + _STEP & _MASK)
    return state


def shuffled(start: int, count: int) -> Int64:
    """A permutation of 0..count-1 out of the stream that begins at `start`."""
    with np.errstate(over="ignore"):
        chances = mixed(np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP))
    return np.argsort(chances, kind="stable").astype(np.int64)


def mixed(values: UInt64) -> UInt64:
    """64 bits that look random for each of `values`, in which all bits count."""
    with np.errstate(over="ignore"):
        z = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)
