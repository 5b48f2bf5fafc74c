"""What is left when reading costs nothing: the same decoding and cropping of bytes in memory, in two threads.

    python benchmarks/engines/read_bare.py PHOTOS COUNT

Each thread decodes into one buffer of its own, and takes as many pictures at once as our readers' threads do.
"""

import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
from read_epoch import EpochClock

from ml_images.train.decode import decode_crop
from ml_images.train.transforms import training_crop

_THREADS, _AT_ONCE, _SIDE, _AREA_MIN = 2, 8, 224, 0.08


def main(photos: str, count: str) -> None:
    clock = EpochClock()
    pictures = [path.read_bytes() for path in sorted(Path(photos).glob("*.jpg"))]
    crop = training_crop("standard", _AREA_MIN, 1, 0)
    means: list[float] = []
    numbers = iter(range(0, int(count), _AT_ONCE))  # next() of it is atomic

    def work() -> None:
        out = np.empty((_SIDE, _SIDE, 3), np.uint8)
        for start in numbers:
            for place in range(start, min(start + _AT_ONCE, int(count))):
                decode_crop(pictures[place % len(pictures)], partial(crop, place), out)
                if place % 4 == 0:
                    means.append(float(out[::16, ::16].mean()))

    decode_crop(pictures[0], partial(crop, 0), np.empty((_SIDE, _SIDE, 3), np.uint8))  # loads what is compiled
    clock.ready()
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.clock_gettime(time.CLOCK_BOOTTIME)
    clock.tell([began, ended], [0, int(count)], mean=sum(means) / len(means))


if __name__ == "__main__":
    main(*sys.argv[1:])
