"""Tables of labels and images for jobs/materialize.py as archives give them: a part of the images holds one class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ml_images import schemas
from ml_images.storage import tables

NUM_CLASSES = 6


@dataclass
class Pictures:
    """`count` keys; key i shows class i * 6 // count, and class 5 is rare."""

    folder: Path
    data: dict[str, bytes] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)

    def add(self, keys: Sequence[str], *, without_image: Sequence[str] = ()) -> None:
        """Rewrite the tables with these keys, too; those `without_image` have no ok one."""
        for number, key in enumerate(keys):
            rng = np.random.default_rng(len(self.labels))
            self.labels[key] = sorted({number * NUM_CLASSES // len(keys), *([5] if number % 23 == 0 else [])})
            self.data[key] = b"\xff\xd8\xff" + rng.bytes(int(rng.integers(50, 1000)))
        for key in without_image:
            del self.data[key]
        vocabulary = [
            {"class": i, "id": f"n{i}", "names": [f"name{i}"], "parents": [], "depth": 0} for i in range(NUM_CLASSES)
        ]
        self._write("vocabulary", pa.Table.from_pylist(vocabulary, schemas.VOCABULARY))
        labels = [
            {
                "key": key,
                "source": "list",
                "classes": [*classes, *([NUM_CLASSES - 1] if NUM_CLASSES - 1 not in classes else [])],
                "confidences": [*([1.0] * len(classes)), *([0.0] if NUM_CLASSES - 1 not in classes else [])],
                "origins": [0] * (len(classes) + (NUM_CLASSES - 1 not in classes)),
            }
            for key, classes in self.labels.items()
        ]
        self._write("labels", pa.Table.from_pylist(labels, schemas.LABELS))
        location = str(self.folder / "images")
        tables.claim(location, "images")
        tables.clear_staging(location)
        for label in range(NUM_CLASSES):
            mine = [key for key, classes in self.labels.items() if classes[0] == label]
            rows = pa.Table.from_pylist([self._image(key) for key in mine], schemas.IMAGES)
            tables.write_part(f"{location}/{tables.STAGING}/part-{label}.parquet", rows)
        tables.publish(location)

    def argv(self, output: str = "out") -> list[str]:
        """The words that every run needs."""
        inputs = [f"annotations={self.folder}", f"images={self.folder}/images", f"output={self.folder}/{output}"]
        return [*inputs, "layout.ranks=3", "layout.row_group_bytes=6000", "layout.file_rows=40"]

    def _image(self, key: str) -> dict[str, object]:
        data = self.data.get(key)
        return {
            "key": key,
            "outcome": "ok" if data else "not_found",
            "attempts": 1,
            "elapsed_ms": 0,
            "width": 3,
            "height": 2,
            "fetched_at": datetime.now(timezone.utc),
            "data": data,
        }

    def _write(self, name: str, rows: pa.Table) -> None:
        tables.write_table(str(self.folder / name), name, rows)


@pytest.fixture
def places() -> list[list[str]]:
    """Four places in the web, each in all its spellings."""
    return [
        ["http://h.example/a%20b.jpg", "HTTP://H.example:80/a b.jpg", "  http://h.example/a b.jpg#top "],
        ["http://h.example/other.jpg"],
        ["https://h.example:443/ü.jpg", "https://h.example/%C3%BC.jpg"],
        ["https://h.example", "https://h.example:443", "https://h.example/?"],
    ]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """360 keys, 2 of them without an image."""
    made = Pictures(tmp_path)
    made.add([f"key-{number:04d}" for number in range(360)], without_image=["key-0003", "key-0200"])
    return made


@pytest.fixture
def splits_of() -> Callable[[Path], dict[str, str]]:
    """The split of each key of a data set."""

    def read(dataset: Path) -> dict[str, str]:
        found = {}
        for name in tables.parts(str(dataset)):
            split = name.partition("/")[0].removeprefix("split=")
            keys = tables.read_part(f"{dataset}/{name}", ["key"])["key"].to_pylist()
            assert not found.keys() & set(keys), "a key is in the data set twice"
            found |= dict.fromkeys(keys, split)
        return found

    return read
