"""A process that reads a data set as training does, and says what reading was to take at most and what it took.

    python tests/train/memory_probe.py READER LOCATION...

READER: arrow or petastorm. What it took is the peak of Arrow's memory pool, which counts since the process began, and
that of Python and numpy, as tracemalloc sees it, and of buffers of pictures, which it does not see. So the locations
come in the order of what they need.
"""

import gc
import json
import mmap
import sys
import tracemalloc
import weakref
from typing import Any

import pyarrow as pa

from ml_images.train.data import DataConfig, open_reader, training_batches
from ml_images.train.dataset import read_split
from ml_images.train.plan import Stretch, plan_epoch
from ml_images.train.reading_memory import most_bytes
from ml_images.train.replication import sure_rows

BATCH_SIZE = 6


class CountedPages(mmap.mmap):
    """What mmap.mmap is, counted for as long as it is held."""

    held = 0
    most = 0

    def __init__(self, _file: int, size: int, **_options: int) -> None:
        weakref.finalize(self, CountedPages._add, -size)
        CountedPages._add(size)

    @staticmethod
    def _add(size: int) -> None:
        CountedPages.held += size
        CountedPages.most = max(CountedPages.most, CountedPages.held)


def measured(config: DataConfig) -> dict[str, Any]:
    split = read_split(config.path, "train")
    told = most_bytes(open_reader(split, config), split, BATCH_SIZE, 1)
    stretch = Stretch(0, 1, BATCH_SIZE, 0, plan_epoch(split, BATCH_SIZE, 1, sure_rows(split)).steps)
    read, CountedPages.most = [0] * 3, CountedPages.held
    for epoch in range(3):  # in the first one modules load and loops are compiled
        gc.collect()
        if epoch == 1:
            tracemalloc.start()
        for batch in training_batches(split, config, stretch, seed=3, epoch=epoch):
            read[epoch] += int(batch.mask.sum())
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pool = pa.default_memory_pool().max_memory()
    return {"told": told, "arrow": pool, "python": python, "buffers": CountedPages.most, "read": read}


def main(reader: str, *locations: str) -> None:
    mmap.mmap = CountedPages
    for location in locations:
        config = DataConfig(path=location, reader=reader, batch_size=BATCH_SIZE, image_size=32)
        print(json.dumps(measured(config)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
