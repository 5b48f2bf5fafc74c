"""CPU milliseconds a photo of `ml_images.images`, whole and by stage, beside the same without any of its checks.

The bare loop is simplejpeg to decode and encode and OpenCV's area resampling between; Pillow decodes with draft,
resamples with bicubic and encodes. All on one thread, from memory to memory, with JPEG quality 90; each number is the
best of --rounds over all photos, and the rounds take turns, so that a busy machine is a nuisance to all alike.
"""

import argparse
import io
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import psutil
import simplejpeg
from machine import describe_machine
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.cpu_time import CpuTime
from ml_images.images.resize import fit, shrink
from ml_images.images.shrinker import Shrinker

_DRAFT_GAP = 1.5

_EXAMPLES = """examples:
  python benchmarks/shrink.py --photos ../shared/data/photos --short-side 256

Exit code 1 where the whole takes over 10 % more than the bare loop."""


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    cv2.setNumThreads(1)
    photos = [file.read_bytes() for file in sorted(args.photos.iterdir()) if file.suffix.lower() in (".jpg", ".jpeg")]
    if not photos:
        print(f"shrink.py: no .jpg or .jpeg in {args.photos}", file=sys.stderr)
        return 2
    cfg = ImageConfig(short_side=args.short_side, icc="drop")
    with_profiles = ImageConfig(short_side=args.short_side)
    rounds = []
    for _ in range(args.rounds):
        taken = {
            "simplejpeg + OpenCV, bare": _each(photos, lambda data: _bare(data, args.short_side)),
            "Pillow with draft": _each(photos, lambda data: _pillow(data, args.short_side)),
            "shrink, icc=drop": _each(photos, lambda data: shrink(data, cfg)),
        }
        taken |= _stages(photos, cfg)
        taken["shrink, icc=srgb"] = _each(photos, lambda data: shrink(data, with_profiles))
        taken["Shrinker, icc=srgb, both processes"] = _by_shrinker(photos, with_profiles)
        rounds.append(taken)
    best = {name: min(taken[name] for taken in rounds) for name in rounds[0]}
    bare = best["simplejpeg + OpenCV, bare"]
    print("\n".join(f"- {name}: {value}" for name, value in describe_machine(1).items()))
    size = sum(map(len, photos)) / len(photos)
    print(f"\n{len(photos)} photos of {size / 1000:,.0f} KB to short side {args.short_side}\n")
    print("| | CPU ms a photo | to the bare loop |\n|---|---:|---:|")
    for name, seconds in best.items():
        print(f"| {name} | {1000 * seconds:.2f} | {seconds / bare:.2f} |")
    return int(best["shrink, icc=drop"] > 1.1 * bare)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--short-side", type=int, default=384, help="of the result (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the best one counts (default %(default)s)")
    return parser


def _each(photos: Sequence[bytes], function: Callable[[bytes], object]) -> float:
    """CPU seconds a photo."""
    started = time.process_time()
    for data in photos:
        function(data)
    return (time.process_time() - started) / len(photos)


def _bare(data: bytes, short_side: int) -> bytes:
    least = round(short_side * _DRAFT_GAP)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=2)
    size = fit(width, height, short_side)
    if size != pixels.shape[1::-1]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    answer: bytes = simplejpeg.encode_jpeg(pixels, 90, "RGB", "420")
    return answer


def _pillow(data: bytes, short_side: int) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        size = fit(*image.size, short_side)
        image.draft(None, (round(short_side * _DRAFT_GAP),) * 2)
        small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=90)
    return out.getvalue()


def _stages(photos: Sequence[bytes], cfg: ImageConfig) -> dict[str, float]:
    """CPU seconds a photo of each stage of shrink; colours and turns are part of resize."""
    cpu = CpuTime()
    for data in photos:
        shrink(data, cfg, cpu=cpu)
    return {f"of it {stage}": spent / 1e9 / len(photos) for stage, spent in cpu.spent.items() if spent}


def _by_shrinker(photos: Sequence[bytes], cfg: ImageConfig) -> float:
    """CPU seconds a photo on both sides of the socket, without the start of the decoder."""
    with Shrinker(cfg) as shrinker:
        _through(shrinker, photos[:1])
        (decoder,) = psutil.Process().children()
        started = time.process_time() + sum(decoder.cpu_times()[:2])
        _through(shrinker, photos)
        return (time.process_time() + sum(decoder.cpu_times()[:2]) - started) / len(photos)


def _through(shrinker: Shrinker, photos: Sequence[bytes]) -> None:
    poll = select.poll()
    poll.register(shrinker.fileno(), select.POLLIN)
    for token, data in enumerate(photos):
        shrinker.submit(token, data)
    while shrinker.num_pending:
        poll.poll()
        shrinker.collect()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
