"""Our readers as train.py uses them: uint8 batches of an epoch, from any place of it on.

python benchmarks/engines/read_ours.py DATASET READER START ROWS        READER: arrow or petastorm
"""

import sys
from collections.abc import Iterator
from typing import Any

from read_epoch import EpochClock

from ml_images.train.data import DataConfig, training_batches
from ml_images.train.dataset import read_split
from ml_images.train.plan import Stretch

_BATCH = 64


def batches(folder: str, reader: Any, start: int, rows: int) -> Iterator[tuple[list[str], Any]]:
    split = read_split(folder, "train")
    config = DataConfig(path=folder, reader=reader, batch_size=_BATCH, image_size=224, decode_threads=2)
    stretch = Stretch(0, 1, _BATCH, start, rows // _BATCH)
    for batch in training_batches(split, config, stretch, seed=1, epoch=0):
        yield batch.keys, batch.images


def main(folder: str, reader: str, start: str, rows: str) -> None:
    clock = EpochClock()
    clock.ready()
    clock.read(batches(folder, reader, int(start), int(rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
