"""mosaicml-streaming over its shards (MDS) on this disk, in its own environment.

PEER/bin/python benchmarks/engines/read_mds.py write FOLDER PHOTOS COUNT
PEER/bin/python benchmarks/engines/read_mds.py read FOLDER DECODER
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from read_epoch import EpochClock
from read_pictures import BATCH, WORKERS, Picture
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

_SHARD_BYTES = 1 << 26  # its default


class Pictures(StreamingDataset):
    def __init__(self, folder: str, decoder: str) -> None:
        super().__init__(local=folder, shuffle=True, batch_size=BATCH)
        self._picture = Picture(decoder)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        row = super().__getitem__(index)
        return row["key"], self._picture(row["image"])


def write(folder: str, photos: str, count: str) -> None:
    pictures = [path.read_bytes() for path in sorted(Path(photos).glob("*.jpg"))]
    with MDSWriter(out=folder, columns={"key": "int", "image": "bytes"}, size_limit=_SHARD_BYTES) as writer:
        for number in range(int(count)):
            writer.write({"key": number, "image": pictures[number % len(pictures)]})


def read(folder: str, decoder: str) -> None:
    clock = EpochClock()
    clock.ready()
    clock.read(batches(folder, decoder))


def batches(folder: str, decoder: str) -> Iterator[tuple[Any, Any]]:
    for keys, images in DataLoader(Pictures(folder, decoder), batch_size=BATCH, num_workers=WORKERS):
        yield keys.tolist(), images


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
