"""torch's DataLoader over torchvision's ImageFolder.

python benchmarks/engines/read_folder.py FOLDER DECODER
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from read_epoch import EpochClock
from read_pictures import BATCH, WORKERS, Picture
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder


class Keyed(ImageFolder):
    """With the number of the picture instead of its class."""

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, super().__getitem__(index)[0]


class Load:
    def __init__(self, decoder: str) -> None:
        self._picture = Picture(decoder)

    def __call__(self, path: str) -> Any:
        return self._picture(Path(path).read_bytes())


def batches(folder: str, decoder: str) -> Iterator[tuple[Any, Any]]:
    dataset = Keyed(folder, loader=Load(decoder))
    for keys, images in DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=WORKERS):
        yield keys.tolist(), images


def main(folder: str, decoder: str) -> None:
    clock = EpochClock()
    clock.ready()
    clock.read(batches(folder, decoder))


if __name__ == "__main__":
    main(*sys.argv[1:])
