"""webdataset over tar shards, in its own environment; shards and 1,000 pictures are shuffled, batches made by workers.

PEER/bin/python benchmarks/engines/read_webdataset.py FOLDER DECODER
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import webdataset
from read_epoch import EpochClock
from read_pictures import BATCH, WORKERS, Picture

_SHUFFLED = 1000  # pictures held for the shuffle, as in its documentation


def same(key: str) -> str:
    return key


def batches(folder: str, decoder: str) -> Iterator[tuple[Any, Any]]:
    shards = sorted(map(str, Path(folder).glob("*.tar")))
    dataset = (
        webdataset.WebDataset(shards, shardshuffle=len(shards))
        .shuffle(_SHUFFLED)
        .to_tuple("__key__", "jpg")
        .map_tuple(same, Picture(decoder))
        .batched(BATCH)
    )
    yield from webdataset.WebLoader(dataset, batch_size=None, num_workers=WORKERS)


def main(folder: str, decoder: str) -> None:
    clock = EpochClock()
    clock.ready()
    clock.read(batches(folder, decoder))


if __name__ == "__main__":
    main(*sys.argv[1:])
