"""The keys that archives are asked for, as sorted 64-bit digests: 86 MB for ImageNet's 10.7 million.

The keys themselves are not needed: a member's name gives every key that it could answer to, and what is in the index
was asked for. Two of 10.7 million keys share a digest with a chance of 3 in a million; a member that nobody asked for
is taken for one that was, over 14 million members, once in 30,000 runs.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from ml_images.archives.names import Shape, keys_of, shape_of


def digest_of(key: str) -> int:
    """64 bits of BLAKE2b over the key's UTF-8."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


class KeyIndex:
    """Says which wanted keys a member answers to, and the number of each: its place among all digests."""

    def __init__(self, digests: np.ndarray, shapes: Iterable[Shape]) -> None:
        """`digests` uint64, ascending."""
        self._digests = memoryview(digests.data)
        self.shapes = frozenset(shapes)

    def __len__(self) -> int:
        return len(self._digests)

    def number_of(self, key: str) -> int | None:
        digest = digest_of(key)
        number = bisect_left(self._digests, digest)
        return number if number < len(self._digests) and self._digests[number] == digest else None

    def named_by(self, place: Sequence[str]) -> list[tuple[int, str]]:
        """(number, key) of every wanted key that names the member at `place`."""
        keys = ((self.number_of(key), key) for key in keys_of(place, self.shapes))
        return [(number, key) for number, key in keys if number is not None]


def index_of(keys: Iterable[str]) -> KeyIndex:
    """The index of a few keys."""
    digests, shapes = digests_of(keys)
    return KeyIndex(np.sort(digests), shapes)


def digests_of(keys: Iterable[str]) -> tuple[np.ndarray, set[Shape]]:
    """Digests of the keys that a member could have, as uint64 in their order, and their shapes."""
    digests, shapes = [], set()
    for key in keys:
        shape = shape_of(key)
        if shape is not None:
            shapes.add(shape)
            digests.append(digest_of(key))
    return np.array(digests, dtype=np.uint64), shapes
