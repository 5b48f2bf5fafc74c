"""What is left when fetching and writing cost nothing: decode, resize, encode in a loop over bytes in memory.

    python benchmarks/engines/memory_loop.py FOLDER COUNT SHORT_SIDE QUALITY PROCESSES

The fastest way found: libjpeg-turbo by simplejpeg with DCT scaling, area resize by OpenCV, one process a core.
"""

import sys
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from clock import Clock


def shrink(data: bytes, short_side: int, quality: int) -> bytes:
    """Upright RGB JPEG in, JPEG of that short side out; smaller ones are not enlarged."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    scale = min(short_side / min(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    pixels = simplejpeg.decode_jpeg(data, min_height=size[1], min_width=size[0], min_factor=1)
    if pixels.shape[1::-1] != size:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorsubsampling="420"))


def work(pictures: list[bytes], start: int, step: int, count: int, short_side: int, quality: int) -> None:
    cv2.setNumThreads(1)
    for number in range(start, count, step):
        shrink(pictures[number % len(pictures)], short_side, quality)


def main(folder: str, count: int, short_side: int, quality: int, processes: int) -> None:
    clock = Clock()
    pictures = [path.read_bytes() for path in sorted(Path(folder).iterdir()) if not path.name.startswith(".")]
    context = get_context("fork")
    shares = [(pictures, start, processes, count, short_side, quality) for start in range(processes)]
    workers = [context.Process(target=work, args=share) for share in shares]
    clock.ready()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit(1)
    clock.done()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
