"""The same JPEG bytes with their labels as a data set of ours, and as an ImageFolder in the order of the former.

Photos are those of reading_sets.py, at short side 384; each comes as often as the number of rows asks for. The labels
are those of their list, which ML-Images gave their classes.
"""

import json
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reading_sets import resized, write_dataset

from ml_images.train.data import DataConfig, training_batches
from ml_images.train.dataset import read_split
from ml_images.train.plan import Stretch

CLASSES = 11_166  # of ML-Images
SEED, EPOCH = 0, 0  # whose order the ImageFolder has


@dataclass(frozen=True)
class TrainingSets:
    dataset: Path
    folder: Path  # for torchvision's ImageFolder, and labels.json: the classes of each of its files


def training_sets(photos: Path, folder: Path, rows: int) -> TrainingSets:
    """Made below `folder` where they are missing. photos: JPEGs and list.txt, rows of `file name TAB class:1 ...`."""
    sets = TrainingSets(folder / f"dataset-{rows}", folder / f"imagefolder-{rows}")
    if (sets.folder / "labels.json").exists():
        return sets
    small = resized(photos, folder)
    labels = read_labels(photos / "list.txt")
    stems = [path.stem for path in sorted(small.glob("*.jpg"))]
    for place in (sets.dataset, sets.folder):
        shutil.rmtree(place, ignore_errors=True)
    numbers = count()
    write_dataset(sets.dataset, small, rows, CLASSES, lambda: labels[stems[next(numbers) % len(stems)]])
    _write_folder(sets, small, stems, labels, rows)
    return sets


def read_labels(path: Path) -> dict[str, NDArray[np.int64]]:
    """By the stem of the file's name, ascending."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {Path(name).stem: np.array(sorted(int(each.split(":")[0]) for each in told)) for name, *told in rows}


def _write_folder(
    sets: TrainingSets, small: Path, stems: list[str], labels: dict[str, NDArray[np.int64]], rows: int
) -> None:
    pictures = sets.folder / "all"
    pictures.mkdir(parents=True)
    config = DataConfig(path=str(sets.dataset), batch_size=1, image_size=32)
    stretch = Stretch(0, 1, 1, 0, rows)
    found = []
    split = read_split(str(sets.dataset), "train")
    for batch in training_batches(split, config, stretch, seed=SEED, epoch=EPOCH):
        stem = stems[int(batch.keys[0]) % len(stems)]
        (pictures / f"{len(found):06d}.jpg").write_bytes((small / f"{stem}.jpg").read_bytes())
        found.append(labels[stem].tolist())
    (sets.folder / "labels.json").write_text(json.dumps(found))
