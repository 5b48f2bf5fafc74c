"""litdata over its chunks on this disk, in its own environment.

PEER/bin/python benchmarks/engines/read_litdata.py write FOLDER PHOTOS COUNT
PEER/bin/python benchmarks/engines/read_litdata.py read FOLDER DECODER
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset, optimize
from read_epoch import EpochClock
from read_pictures import BATCH, WORKERS, Picture


class Pictures(StreamingDataset):
    def __init__(self, folder: str, decoder: str) -> None:
        super().__init__(folder, shuffle=True)
        self._picture = Picture(decoder)

    def __getitem__(self, index: Any) -> tuple[int, Any]:
        row = super().__getitem__(index)
        return row["key"], self._picture(row["image"])


def one(number: int, *, names: list[str]) -> dict[str, Any]:
    return {"key": number, "image": Path(names[number % len(names)]).read_bytes()}


def write(folder: str, photos: str, count: str) -> None:
    names = [str(path) for path in sorted(Path(photos).glob("*.jpg"))]
    optimize(
        partial(one, names=names),
        list(range(int(count))),
        folder,
        chunk_bytes="64MB",  # its documentation's
        num_workers=WORKERS,
    )


def read(folder: str, decoder: str) -> None:
    clock = EpochClock()
    clock.ready()
    clock.read(batches(folder, decoder))


def batches(folder: str, decoder: str) -> Iterator[tuple[Any, Any]]:
    for keys, images in StreamingDataLoader(Pictures(folder, decoder), batch_size=BATCH, num_workers=WORKERS):
        yield keys.tolist(), images


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
