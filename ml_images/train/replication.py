"""How often each row comes in an epoch, where the data set repeats images of rare classes (column `replication`).

A factor of 2.3 is two copies, and a third with probability 0.3: stochastic rounding by (seed, epoch, key), so that over
epochs each row comes as often as its factor says, on any number of ranks (Mahajan et al. 2018, section 2.1).
"""

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from ml_images.errors import InputError
from ml_images.labels.copies import MOST_COPIES
from ml_images.storage.paths import join, open_location
from ml_images.train.chance import mixed, stream
from ml_images.train.dataset import FOOTERS_AT_ONCE, Split
from ml_images.train.row_groups import numbers, one_array

Copies = NDArray[np.uint16]
Int64 = NDArray[np.int64]
_COPIES = 3  # what a stream of chance is for
_FILES_AT_ONCE = 4  # on a disk, where more threads only wait for each other
_SURE = 5  # standard deviations: an epoch with fewer rows is one in three million


def copies_of_groups(split: Split, seed: int, epoch: int) -> list[Copies]:
    """Of each row group of the split: how often each of its rows comes, uint16 (rows)."""
    found: list[Copies] = []
    for (hashes, factors), bounds in zip(_factors(split), _bounds(split), strict=True):
        copies = rounded(factors, hashes, seed, epoch)  # of a file at once: 70,000 row groups one by one take 3 s
        found += [copies[start:end] for start, end in itertools.pairwise(bounds)]
    return found


def rounded(factors: NDArray[np.float32], hashes: NDArray[np.uint64], seed: int, epoch: int) -> Copies:
    """`factors` (rows) to whole numbers, up with the probability of what is behind the point; hashes: of the keys."""
    chance = mixed(hashes ^ np.uint64(stream(seed, epoch, _COPIES))) >> np.uint64(11)
    whole = np.floor(factors.astype(np.float64))
    return (whole + (chance * 2.0**-53 < factors - whole)).astype(np.uint16)


def rows_of_groups(split: Split) -> tuple[Int64, Int64]:
    """(least, most) places that each row group has in an epoch, whatever the seed: int64 (row groups)."""
    if not split.replicated:
        rows = np.array(split.row_groups, np.int64)
        return rows, rows
    sums = []
    for (_, factors), bounds in zip(_factors(split), _bounds(split), strict=True):
        up_to = np.stack([np.floor(factors), np.ceil(factors)]).cumsum(axis=1, dtype=np.float64)
        sums.append(np.diff(np.pad(up_to, ((0, 0), (1, 0)))[:, bounds]))
    least, most = np.concatenate(sums, axis=1).astype(np.int64)
    return least, most


def sure_rows(split: Split) -> int:
    """Rows that every epoch has, so that its steps can be promised before chance has decided: the mean less some
    standard deviations of a sum of independent roundings, a variance of f (1 - f) each (f: behind the point)."""
    if not split.replicated:
        return split.rows
    mean, variance, least = 0.0, 0.0, 0
    for _, factors in _factors(split):
        behind = factors.astype(np.float64) % 1
        mean += factors.sum(dtype=np.float64)
        variance += (behind * (1 - behind)).sum()
        least += int(np.floor(factors).sum(dtype=np.float64))
    return max(least, int(mean - _SURE * variance**0.5))


@functools.lru_cache(maxsize=1)
def _factors(split: Split) -> list[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
    """(64 bits of each key, its factor) of each file: 12 bytes a row, read once a run. 17.6 million rows in 5,000 files
    on a disk take 8 s of CPU."""
    filesystem, folder = open_location(split.location)
    is_remote = not isinstance(filesystem, fs.LocalFileSystem)

    def read(file: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        place = join(split.location, file)
        try:
            with (
                filesystem.open_input_file(join(folder, file)) as source,
                pq.ParquetFile(source, pre_buffer=is_remote) as opened,
            ):
                # Whole files, one thread each: Arrow's own threads beside ours and 14 parts took three times as much
                # CPU.
                table = opened.read(["key", "replication"], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        return _of_file(table, place)

    with ThreadPoolExecutor(FOOTERS_AT_ONCE if is_remote else _FILES_AT_ONCE) as pool:
        return list(pool.map(read, split.files))


def _bounds(split: Split) -> Iterator[list[int]]:
    """Of each file: the first row of each of its row groups, and the end."""
    rows = iter(split.row_groups)
    for groups in split.groups_per_file:
        yield [0, *itertools.accumulate(itertools.islice(rows, groups))]


def _of_file(table: pa.Table, file: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    factors = numbers(one_array(table["replication"]), np.float32)
    if table["replication"].null_count or not (np.isfinite(factors) & (factors >= 0)).all():
        raise InputError(f"{file} has a replication that is no number or below 0")
    if len(factors) and factors.max() > MOST_COPIES:
        raise InputError(f"{file} has a replication of {factors.max():g}, at most {MOST_COPIES} is possible")
    from ml_images.annotations.keys import hash_keys  # with numba, which nothing else of a reader wants

    return hash_keys(one_array(table["key"])), factors
