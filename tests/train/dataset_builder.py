"""Data sets as jobs/materialize.py writes them, of pictures whose colour tells their classes."""

import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ml_images import schemas
from ml_images.storage.petastorm import ROW_GROUPS

COLOURS = ((220, 30, 30), (30, 200, 30), (40, 60, 230), (230, 220, 40), (200, 40, 200), (40, 210, 210))


def jpeg(colour: Sequence[int], *, width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """A noisy picture of one colour."""
    noise = np.random.default_rng(seed).integers(-25, 26, (height, width, 3))
    pixels = np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def rows(count: int, name: str, num_classes: int = 6) -> list[dict[str, object]]:
    """Row i shows the colour of class i % num_classes and is labelled with it; the last class is unknown at times."""
    made = []
    for index in range(count):
        label = index % num_classes
        classes, confidences = [label], [1.0]
        if label != num_classes - 1 and index % 5 == 0:
            classes, confidences = [*classes, num_classes - 1], [*confidences, schemas.UNKNOWN]
        made.append(
            {
                "key": f"{name}-{index:05d}",
                "image": jpeg(COLOURS[label % len(COLOURS)], seed=index),
                "width": 64,
                "height": 48,
                "classes": classes,
                "confidences": confidences,
                "replication": 1.0,
            }
        )
    return made


def write_dataset(
    root: Path,
    *,
    train: Sequence[int] = (24, 24, 24, 24),
    val: Sequence[int] = (12, 12),
    num_classes: int = 6,
    files: int = 2,
    lanes: int = 1,
    factors: Sequence[float] = (),
    broken: Collection[int] = (),
) -> Path:
    """A data set whose splits have row groups of the given sizes, dealt to `files` files. Row i of the training split
    has the replication factors[i % len(factors)]; the picture of those in `broken` is none. Returns `root`."""
    root.mkdir(parents=True)
    splits: dict[str, dict[str, int]] = {}
    for name, sizes in (("train", train), ("val", val), ("test", ())):
        folder = root / f"split={name}"
        folder.mkdir()
        made, listed = rows(sum(sizes), name, num_classes), {}
        for index, row in enumerate(made if name == "train" and factors else ()):
            row["replication"] = factors[index % len(factors)]
        for index in broken if name == "train" else ():
            made[index]["image"] = b"\xff\xd8\xff\xe0 no picture"
        starts, parts = np.cumsum([0, *sizes]), min(files, len(sizes))
        for part in range(parts):
            file = folder / f"part-{part:05d}.parquet"
            mine = range(part * len(sizes) // parts, (part + 1) * len(sizes) // parts)
            with pq.ParquetWriter(file, schemas.DATASET) as writer:
                for group in mine:
                    table = pa.Table.from_pylist(made[starts[group] : starts[group + 1]], schemas.DATASET)
                    writer.write_table(table, row_group_size=max(1, sizes[group]))
            listed[file.name] = len(mine)
        write_metadata(folder, {ROW_GROUPS: json.dumps(listed).encode()})
        splits[name] = {"rows": sum(sizes), "row_groups": len(sizes)}
    write_metadata(root, {ROW_GROUPS: b"{}"})
    manifest: dict[str, object] = {"num_classes": num_classes, "lanes": lanes, "splits": splits}
    if factors:
        told = {"train_rows": sum(train), "epoch_rows": 0, "classes_repeated": 0, "largest_factor": 1, "shares": {}}
        manifest["replication"] = told
    (root / "_manifest.json").write_text(json.dumps(manifest))
    (root / "_SUCCESS").touch()
    return root


def write_metadata(folder: Path, key_values: dict[bytes, bytes], name: str = "_common_metadata") -> None:
    pq.write_metadata(schemas.DATASET.with_metadata(key_values), folder / name)
