"""How often each row comes in an epoch, where the data set repeats images of rare classes (column `replication`).

A factor of 2.3 is two copies, and a third with probability 0.3: stochastic rounding by (seed, epoch, key), so that over
epochs each row comes as often as its factor says, on any number of ranks (Mahajan et al. 2018, section 2.1).
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ml_images.annotations.keys import hash_keys
from ml_images.errors import InputError
from ml_images.labels.replication import MOST_COPIES
from ml_images.storage.paths import join, open_location
from ml_images.train.chance import mixed, stream
from ml_images.train.dataset import FOOTERS_AT_ONCE, Split

Copies = NDArray[np.uint16]
_COPIES = 3  # what a stream of chance is for
_SURE = 5  # standard deviations: an epoch with fewer rows is one in three million


def copies_of_groups(split: Split, seed: int, epoch: int) -> list[Copies]:
    """Of each row group of the split: how often each of its rows comes, uint16 (rows)."""
    return [rounded(factors, hashes, seed, epoch) for hashes, factors in _factors(split)]


def rounded(factors: NDArray[np.float32], hashes: NDArray[np.uint64], seed: int, epoch: int) -> Copies:
    """`factors` (rows) to whole numbers, up with the probability of what is behind the point; hashes: of the keys."""
    chance = mixed(hashes ^ np.uint64(stream(seed, epoch, _COPIES))) >> np.uint64(11)
    whole = np.floor(factors.astype(np.float64))
    return (whole + (chance * 2.0**-53 < factors - whole)).astype(np.uint16)


def sure_rows(split: Split) -> int:
    """Rows that every epoch has, so that its steps can be promised before chance has decided: the mean less some
    standard deviations of a sum of independent roundings, a variance of f (1 - f) each (f: behind the point)."""
    if not split.replicated:
        return split.rows
    mean, variance = 0.0, 0.0
    for _, factors in _factors(split):
        behind = factors.astype(np.float64) % 1
        mean += factors.sum(dtype=np.float64)
        variance += (behind * (1 - behind)).sum()
    least = sum(int(np.floor(factors).sum(dtype=np.float64)) for _, factors in _factors(split))
    return max(least, int(mean - _SURE * variance**0.5))


@functools.lru_cache(maxsize=1)
def _factors(split: Split) -> list[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
    """(64 bits of each key, its factor) of each row group: 12 bytes a row, read once a run."""
    filesystem, folder = open_location(split.location)

    def read(file: str) -> list[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
        with filesystem.open_input_file(join(folder, file)) as source, pq.ParquetFile(source) as opened:
            return [
                _of_group(opened.read_row_group(i, ["key", "replication"]), file) for i in range(opened.num_row_groups)
            ]

    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        return [group for groups in pool.map(read, split.files) for group in groups]


def _of_group(table: pa.Table, file: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    factors = table["replication"].to_numpy()
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise InputError(f"{file} has a replication that is no number or below 0")
    if len(factors) and factors.max() > MOST_COPIES:
        raise InputError(f"{file} has a replication of {factors.max():g}, at most {MOST_COPIES} is possible")
    return hash_keys(table["key"].combine_chunks()), factors
