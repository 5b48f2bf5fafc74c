"""Which split an image belongs to, and its place in a shuffle: pure functions of (seed, key).

A key keeps its split whatever else is in the table, in whatever order and on however many workers. Near duplicates
share the split of the smallest key of their group (spark/dataset_join.py). BLAKE2b because it is in the standard
library and gives the same bits on every machine (Python's own hash() does not); 0.7 s for a million keys.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_images import schemas
from ml_images.options import option

SEEDS = 1 << 64


@dataclass(frozen=True)
class SplitConfig:
    seed: int = option(0, "another seed draws other splits (or folds); at least 0")
    val: float = option(0.05, "fraction of the keys that go to split=val; means nothing with lists or folds")
    test: float = option(0.0, "fraction of the keys that go to split=test; means nothing with lists or folds")
    lists: list[str] = option(
        [],
        "splits by given lists: Parquet, CSV or TSV with the columns key and split, or SPLIT=FILE with a key a line; "
        "a key in no list goes to train, or is left out where a list names keys of train",
    )
    folds: int = option(0, "this many folds in which each label is as frequent as in the others; 0 for none")
    fold: int = option(0, "the fold, from 0, that is split=val; the others are split=train")

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"seed must be in 0..2^64-1, got {self.seed}")
        for name, fraction in (("val", self.val), ("test", self.test)):
            if not 0 <= fraction < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {fraction}")
        if self.val + self.test >= 1:
            raise ValueError(f"val + test must be below 1 so that train gets something, got {self.val} + {self.test}")
        if self.folds and not 2 <= self.folds <= 1000:
            raise ValueError(f"splits.folds must be 2 to 1000, or 0 for none, got {self.folds}")
        if not 0 <= self.fold < max(1, self.folds):
            raise ValueError(f"splits.fold must be 0 to {max(0, self.folds - 1)}, got {self.fold}")
        if self.folds and self.lists:
            raise ValueError("splits.lists and splits.folds were both given: choose one of them")


def assign_splits(keys: Iterable[str] | pa.Array, config: SplitConfig) -> pa.Array:
    """The split of each key (string array of schemas.SPLITS names) by `val` and `test`.

    val takes the low end of the hash range and test the high end, so changing one fraction moves keys between that
    split and train only.
    """
    train, val, test = range(len(schemas.SPLITS))
    hashes = _hashes(config.seed, keys, b"split")
    codes = np.full(len(hashes), train, np.int8)
    codes[hashes < np.uint64(int(config.val * 2.0**64))] = val
    codes[~hashes < np.uint64(int(config.test * 2.0**64))] = test  # ~h mirrors the range
    return pa.DictionaryArray.from_arrays(codes, pa.array(schemas.SPLITS)).cast(pa.string())


def sort_hashes(seed: int, keys: Iterable[str] | pa.Array) -> npt.NDArray[np.uint64]:
    """The places of keys in the shuffle of a seed, 64 uniform bits each, unrelated to their splits: uint64 (keys)."""
    return _hashes(seed, keys, b"sort")


def fold_hashes(seed: int, keys: Iterable[str] | pa.Array) -> npt.NDArray[np.uint64]:
    """What stands for keys where folds are made, and the order in which they are dealt: uint64 (keys)."""
    return _hashes(seed, keys, b"fold")


def _hashes(seed: int, keys: Iterable[str] | pa.Array, purpose: bytes) -> npt.NDArray[np.uint64]:
    texts = keys.to_pylist() if isinstance(keys, (pa.Array, pa.ChunkedArray)) else keys
    # Seed and purpose are parameters of BLAKE2b (salt, person), so that no key can imitate another seed.
    start = hashlib.blake2b(digest_size=8, salt=seed.to_bytes(8, "little"), person=purpose)
    digests = []
    for text in texts:
        one = start.copy()
        one.update(text.encode("utf-8"))
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
