"""The pictures that the download benchmark fetches, and the lists that name them.

Photos that the two sides would not treat alike are left out, and counted: those that EXIF turns (the peer ignores it)
and those that are no RGB JPEG (the peer stores grey ones as grey).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

_ORIENTATION = 0x0112
_MEGAPIXELS = 10e6
_LARGE = 60  # different pictures of 10 MP; more would only fill the disk
_NOISE = 3.0  # standard deviation, of 255: an enlarged photo alone has none of a camera's


@dataclass(frozen=True)
class PhotoSet:
    folder: Path
    names: tuple[str, ...]  # of the files
    left_out: int

    @property
    def mean_bytes(self) -> float:
        return float(np.mean([(self.folder / name).stat().st_size for name in self.names]))

    def paths(self, count: int) -> list[str]:
        """`count` different URL paths below the root of the server."""
        return [
            f"-/copy/{number}/{self.folder.name}/{quote(self.names[number % len(self.names)])}"
            for number in range(count)
        ]


def plain_photos(photos: Path, root: Path) -> PhotoSet:
    """Copies of the photos in a folder below `root`."""
    folder = root / "photos"
    folder.mkdir(parents=True, exist_ok=True)
    names, left_out = [], 0
    for path in sorted(photos.iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        with Image.open(path) as image:
            alike = image.format == "JPEG" and image.mode == "RGB" and image.getexif().get(_ORIENTATION, 1) == 1
        if not alike:
            left_out += 1
            continue
        names.append(path.name)
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return PhotoSet(folder, tuple(names), left_out)


def large_photos(photos: PhotoSet, root: Path) -> PhotoSet:
    """Some of the photos enlarged to 10 megapixels with a little noise, JPEG of quality 92; made once."""
    folder = root / "large"
    folder.mkdir(parents=True, exist_ok=True)
    names = photos.names[:: max(len(photos.names) // _LARGE, 1)][:_LARGE]
    for number, name in enumerate(names):
        if (folder / name).exists():
            continue
        with Image.open(photos.folder / name) as image:
            scale = (_MEGAPIXELS / (image.width * image.height)) ** 0.5
            size = round(image.width * scale), round(image.height * scale)
            pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32)
        noise = np.random.default_rng(number).normal(0, _NOISE, pixels.shape[:2]).astype(np.float32)
        noisy = np.clip(pixels + noise[:, :, None], 0, 255).astype(np.uint8)
        half = folder / f".{name}"
        Image.fromarray(noisy).save(half, format="JPEG", quality=92)
        half.rename(folder / name)
    return PhotoSet(folder, names, 0)


def write_list(urls: list[str], folder: Path) -> None:
    """The URLs as the peer's list, urls.parquet, and as ours, urls.txt."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"url": urls}), folder / "urls.parquet")
    (folder / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
