"""Both sides of the training benchmark get the same pictures with the same labels in the same order."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from training_sets import EPOCH, SEED, training_sets

from ml_images.train.data import DataConfig, training_batches
from ml_images.train.dataset import read_split
from ml_images.train.plan import Stretch

ROWS = 24


def test_the_image_folder_has_the_order_of_training(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (400, 420, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"p{number}.jpg", quality=30)
    lines = [f"p{number}.jpg\t{number + 7}:1\t{number}:1" for number in range(5)]
    (photos / "list.txt").write_text("\n".join(lines) + "\n")

    sets = training_sets(photos, tmp_path / "work", ROWS)

    tables = [pq.ParquetFile(path).read() for path in sets.dataset.rglob("*.parquet")]
    rows = {row["key"]: row for table in tables for row in table.to_pylist()}
    assert len(rows) == ROWS
    split = read_split(str(sets.dataset), "train")
    config = DataConfig(path=str(sets.dataset), batch_size=4, image_size=32)
    batches = training_batches(split, config, Stretch(0, 1, 4, 0, ROWS // 4), seed=SEED, epoch=EPOCH)
    keys = [key for batch in batches for key in batch.keys]
    assert keys != sorted(keys)
    files = sorted((sets.folder / "all").iterdir())
    labels = json.loads((sets.folder / "labels.json").read_text())
    for key, file, classes in zip(keys, files, labels, strict=True):
        assert file.read_bytes() == rows[key]["image"]
        assert classes == rows[key]["classes"]
    assert sorted({tuple(each) for each in labels}) == [(number, number + 7) for number in range(5)]
