import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ml_images.labels.rows import to_rows
from ml_images.labels.statistics import LabelStatistics
from ml_images.report.contents import Dataset, Lines, Reject, Report, Thumbnail, Training, TrainingPoint
from ml_images.schemas import LABELS, VOCABULARY


@pytest.fixture(scope="session")  # frozen: a test that wants another one makes it with dataclasses.replace
def report():
    """1,010 lines, 3 merged, 1,000 rows, 900 images; row i has tags 0 to i % 4 of five classes, class 4 has none."""
    rows = 1000
    statistics = LabelStatistics(5)
    table = {
        "key": [f"k{i}" for i in range(rows)],
        "source": ["train_a.txt" if i < 600 else "val_b.txt" for i in range(rows)],
        "classes": [list(range(1 + i % 4)) for i in range(rows)],
        "confidences": [[1.0] * (1 + i % 4) for i in range(rows)],
        "origins": [[0] + [1] * (i % 4) for i in range(rows)],
    }
    statistics.update(to_rows(pa.RecordBatch.from_pydict(table, schema=LABELS)))
    vocabulary = pa.Table.from_pydict(
        {
            "class": np.arange(5, dtype=np.int32),
            "id": [f"n{i}" for i in range(5)],
            "names": [["thing"], ["animal", "beast"], ["dog"], ["pug"], ["unicorn"]],
            "parents": [[], [0], [1], [2], [1]],
            "depth": np.array([0, 1, 2, 3, 2], np.int32),
        },
        schema=VOCABULARY,
    )
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(jpeg, "JPEG")
    return Report(
        title="A small world",
        vocabulary=vocabulary,
        statistics=statistics.result(),
        labels_per_class=statistics.labels_per_class,
        tags_per_image=statistics.tags_per_image,
        lines=Lines(
            1010,
            rows,
            (Reject("no_labels", 2, "train_a.txt", 7, "lonely"), Reject("bad_class", 5, "val_b.txt", 1234, "k 9:1")),
            merged=3,
        ),
        outcomes={"timeout": 20, "ok": 900, "not_found": 80},
        dataset=Dataset({"train": 801, "val": 52, "test": 43}, {"no present label": 4}),
        training=Training(
            (
                TrainingPoint(0, 0.7, 0.21),
                TrainingPoint(50, 0.4),
                TrainingPoint(1500, 0.2, 0.61),
                TrainingPoint(1600, float("nan")),
            ),
            prior_map=0.2,
        ),
        thumbnails=(Thumbnail("http://host/k1.jpg", jpeg.getvalue(), ("pug", "dog")),),
        written="today",
        configuration={"closure": "closed_max"},
        versions={"python": "3.11"},
    )
