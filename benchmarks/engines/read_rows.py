"""Rows without decoding: key and picture as Python's own bytes, over several epochs.

    python benchmarks/engines/read_rows.py DATASET ENGINE EPOCHS        arrow, petastorm, or petastorm-lists

arrow: our rows in the order of the epoch, with their labels. petastorm: make_batch_reader by two threads, row groups
and rows shuffled, without the labels, which it cannot read; petastorm-lists: with the labels, as bytes.
"""

import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from read_epoch import EpochClock

warnings.simplefilter("ignore")

from petastorm import make_batch_reader  # noqa: E402
from petastorm.transform import TransformSpec  # noqa: E402

from ml_images.train.data import training_order  # noqa: E402
from ml_images.train.dataset import read_split  # noqa: E402
from ml_images.train.plan import Stretch  # noqa: E402
from ml_images.train.reader import HeldGroups, Stages  # noqa: E402
from ml_images.train.row_groups import ArrowRowGroups  # noqa: E402

_BATCH, _THREADS = 64, 2
Rows = list[tuple[str, bytes]]


def ours(folder: str, epochs: int) -> Iterator[Rows]:
    split = read_split(folder, "train")
    stretch = Stretch(0, 1, _BATCH, 0, -(-split.rows // _BATCH))
    groups = ArrowRowGroups(split)
    with ThreadPoolExecutor(_THREADS) as reading:
        for epoch in range(epochs):
            held = HeldGroups(groups, training_order(split, 1, epoch), stretch, Stages())
            for step in range(stretch.steps):
                held.advance(step, step, reading)
                rows = [found[0].row(found[1]) for found in held.rows(step) if found]
                yield [(row.key, bytes(row.image)) for row in rows]


def petastorm(folder: str, epochs: int, transform: TransformSpec | None, fields: list[str]) -> Iterator[Rows]:
    reader = make_batch_reader(
        f"file://{folder}/split=train",
        schema_fields=fields,
        transform_spec=transform,
        workers_count=_THREADS,
        shuffle_row_groups=True,
        shuffle_rows=True,
        seed=1,
        num_epochs=epochs,
    )
    with reader:
        for group in reader:
            yield list(zip(group.key.tolist(), group.image.tolist(), strict=True))


def _as_bytes(frame: Any) -> Any:
    for name, kind in (("classes", np.int32), ("confidences", np.float32)):
        frame[name] = [np.asarray(items, kind).tobytes() for items in frame[name]]
    return frame


_LISTS = TransformSpec(
    _as_bytes, edit_fields=[("classes", np.bytes_, (), False), ("confidences", np.bytes_, (), False)]
)


def rows_of(folder: str, engine: str, epochs: int) -> Iterator[Rows]:
    if engine == "arrow":
        return ours(folder, epochs)
    if engine == "petastorm":
        return petastorm(folder, epochs, None, ["key", "image"])
    return petastorm(folder, epochs, _LISTS, ["key", "image", "classes", "confidences"])


def main(folder: str, engine: str, epochs: str) -> None:
    clock = EpochClock()
    clock.ready()
    arrivals, sizes, seen, num_bytes = [], [], set(), 0
    for rows in rows_of(folder, engine, int(epochs)):
        for key, image in rows:
            num_bytes += len(image)
            seen.add(key)
        arrivals.append(time.clock_gettime(time.CLOCK_BOOTTIME))
        sizes.append(len(rows))
    clock.tell(arrivals, sizes, distinct=len(seen), bytes=num_bytes)


if __name__ == "__main__":
    main(*sys.argv[1:])
