"""The same JPEG bytes in the layout of every reader: our data set, an ImageFolder, tar shards, MDS, litdata's chunks.

Photos are resized to short side 384 once (also those that are a little smaller), JPEG of quality 90, and repeated under
other keys; every copy lies on disk by itself. Each set is made once and kept.
"""

import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from bench import ENGINES
from numpy.typing import NDArray
from PIL import Image, ImageOps
from reading_peers import python_of

from ml_images import schemas
from ml_images.interchange.tar_writer import TarWriter
from ml_images.spark.dataset_layout import LayoutConfig, lay_out
from ml_images.storage import tables
from ml_images.storage.manifest import MANIFEST
from ml_images.storage.petastorm import write_row_group_counts

SHORT_SIDE, QUALITY = 384, 90
LANES = 8  # the default of layout.ranks
_CLASSES, _LABELS = 11_166, 12  # of ML-Images; labels of a picture
_FOLDERS = 10  # of the ImageFolder
_PER_TAR = 500


@dataclass(frozen=True)
class Sets:
    """`count` pictures below `folder`, made where they are missing."""

    folder: Path
    photos: Path  # resized
    count: int

    def place(self, kind: str) -> Path:
        """The set for `kind`: dataset, imagefolder, or one of the peers."""
        place = self.folder / f"{kind}-{self.count}"
        mark = place.with_suffix(".done")
        if not mark.exists():
            shutil.rmtree(place, ignore_errors=True)
            _WRITERS[kind](self, place)
            mark.touch()
        return place

    def pictures(self) -> list[bytes]:
        """Picture number i of a set is that of number i % len."""
        return [path.read_bytes() for path in sorted(self.photos.glob("*.jpg"))]


def resized(photos: Path, folder: Path) -> Path:
    """A folder of the photos as RGB, upright, of short side SHORT_SIDE."""
    made = folder / f"photos-{SHORT_SIDE}"
    made.mkdir(parents=True, exist_ok=True)
    for path in sorted(photos.iterdir()):
        target = made / f"{path.stem}.jpg"
        if path.suffix.lower() not in (".jpg", ".jpeg") or target.exists():
            continue
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        scale = SHORT_SIDE / min(upright.size)
        size = round(upright.width * scale), round(upright.height * scale)
        half = made / f".{path.stem}"
        upright.resize(size, Image.Resampling.BICUBIC).save(half, format="JPEG", quality=QUALITY)
        half.rename(target)
    return made


def _write_dataset(sets: Sets, place: Path) -> None:
    random = np.random.default_rng(0)
    draw = partial(random.choice, _CLASSES, _LABELS, replace=False)
    write_dataset(place, sets.photos, sets.count, _CLASSES, lambda: np.sort(draw()))


def write_dataset(
    place: Path, photos: Path, count: int, num_classes: int, classes_of_next: Callable[[], NDArray[np.int64]]
) -> None:
    """`photos`, sorted by name and repeated, as jobs/materialize.py lays them out, with its defaults; `classes_of_next`
    is called for one row after the other."""
    paths = sorted(photos.glob("*.jpg"))
    pictures, shapes = [path.read_bytes() for path in paths], [Image.open(path).size for path in paths]
    sizes = np.array([len(data) for data in pictures])[np.arange(count) % len(pictures)]
    layout = lay_out(sizes, LayoutConfig(ranks=LANES))
    firsts = layout.first_rows().tolist()
    row_groups = {}
    for file, first in enumerate(firsts):
        name = f"split=train/part-{file:05d}.parquet"
        location, row_groups[name] = str(place / name), len(layout.groups_of(file)) - 1
        with tables.open_part(location, schemas.DATASET) as writer:
            for start, end in itertools.pairwise((layout.groups_of(file) + first).tolist()):
                rows = [number % len(pictures) for number in range(start, end)]
                classes = [classes_of_next() for _ in rows]
                columns = {
                    "key": [f"{number:06d}" for number in range(start, end)],
                    "image": [pictures[row] for row in rows],
                    "width": [shapes[row][0] for row in rows],
                    "height": [shapes[row][1] for row in rows],
                    "classes": classes,
                    "confidences": [np.ones(len(each), np.float32) for each in classes],
                    "replication": np.ones(len(rows), np.float32),
                }
                writer.write_table(pa.table(columns, schema=schemas.DATASET), row_group_size=end - start)
    write_row_group_counts(str(place), ["train"], schemas.DATASET, row_groups)
    splits = {"train": {"rows": layout.rows, "row_groups": layout.row_groups}}
    (place / MANIFEST).write_text(json.dumps({"num_classes": num_classes, "lanes": LANES, "splits": splits}))
    tables.mark_done(str(place))


def _write_folder(sets: Sets, place: Path) -> None:
    pictures = sets.pictures()
    for number in range(sets.count):
        folder = place / f"{number % len(pictures) * _FOLDERS // len(pictures):02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06d}.jpg").write_bytes(pictures[number % len(pictures)])


def _write_tar(sets: Sets, place: Path) -> None:
    pictures = sets.pictures()
    place.mkdir(parents=True)
    for first in range(0, sets.count, _PER_TAR):
        with (place / f"{first // _PER_TAR:05d}.tar").open("wb") as stream:
            tar = TarWriter(stream)
            for number in range(first, min(first + _PER_TAR, sets.count)):
                tar.add(f"{number:06d}.jpg", pictures[number % len(pictures)])
            tar.finish()


def _by_peer(peer: str, script: str) -> Callable[[Sets, Path], None]:
    def write(sets: Sets, place: Path) -> None:
        told = [python_of(peer, sets.folder), ENGINES / script, "write", place, sets.photos, str(sets.count)]
        with (sets.folder / f"write-{peer}.log").open("w") as log:
            subprocess.run(list(map(str, told)), check=True, stdout=log, stderr=log)

    return write


_WRITERS: dict[str, Callable[[Sets, Path], None]] = {
    "dataset": _write_dataset,
    "imagefolder": _write_folder,
    "webdataset": _write_tar,
    "mosaicml-streaming": _by_peer("mosaicml-streaming", "read_mds.py"),
    "litdata": _by_peer("litdata", "read_litdata.py"),
}
