"""Rows of a data set as batches of pixels and targets, in an order that threads and timing cannot change.

The only importer of Petastorm. Petastorm hands out encoded rows with one worker, because with more of them 0.12
delivers row groups in the order in which they happen to finish; decoding, which is what costs, is done here by a
pool of threads whose results are taken in the order of the rows. What an epoch shows is a function of
(seed, epoch, rank, size), and a picture's crop one of (seed, epoch, key).
"""

import collections
import hashlib
import itertools
import logging
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml_images.errors import InputError
from ml_images.options import option
from ml_images.train.dataset import Split, check_folder
from ml_images.train.transforms import evaluation_crop, training_crop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # petastorm 0.12 imports what pyarrow 14 and setuptools call deprecated
    import petastorm
    from petastorm.transform import TransformSpec

COLUMNS = ["key", "image", "classes", "confidences"]
BATCHES_AHEAD = 2  # decoded or being decoded while a step runs


@dataclass(frozen=True)
class DataConfig:
    path: str = option(help="folder of a data set, as jobs/materialize.py writes it")
    batch_size: int = option(128, "images a step on each rank")
    image_size: int = option(224, "side of the square that the network sees, in pixels")
    crop_area_min: float = option(0.08, "smallest share of a picture's area that a training crop keeps")
    shuffle_rows: int = option(2048, "rows held back to shuffle across row groups, per rank")
    decode_threads: int = option(2, "threads that decode pictures, per rank")

    def __post_init__(self) -> None:
        for name in ("batch_size", "shuffle_rows", "decode_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} must be >= 1, got {getattr(self, name)}")
        if self.image_size < 32:
            raise ValueError(f"data.image_size must be >= 32 (a ResNet shrinks 32-fold), got {self.image_size}")
        if not 0 < self.crop_area_min <= 1:
            raise ValueError(f"data.crop_area_min must be in (0, 1], got {self.crop_area_min}")


class Batch(NamedTuple):
    keys: list[str]
    images: Tensor  # uint8 (batch, 3, height, width)
    targets: Tensor  # float32 (batch, classes): a confidence, 0 absent, UNKNOWN not told


class Row(NamedTuple):
    key: str
    image: bytes
    classes: NDArray[np.int32]
    confidences: NDArray[np.float32]


def training_batches(
    split: Split, config: DataConfig, *, seed: int, epoch: int, rank: int, size: int, skip: int = 0
) -> Iterator[Batch]:
    """The batches of one rank in one epoch, all full, from batch `skip` on; what was skipped is read, not decoded.

    Every row comes once over all ranks, apart from those of the last, incomplete batch of each rank. Petastorm gives
    a shard the same row groups whatever its seed; ranks take the shards in turns instead. Raises InputError for a
    picture that cannot be decoded.
    """
    order = random.Random(f"{seed}:{epoch}:shards")
    shard = order.sample(range(size), size)[rank]
    chance = random.Random(f"{seed}:{epoch}:{rank}")
    rows = shuffled(read_rows(split, shard, size, seed=_seed32(seed, epoch)), config.shuffle_rows, chance)
    chunks = (chunk for chunk in _chunks(rows, config.batch_size) if len(chunk) == config.batch_size)

    def crop(row: Row) -> NDArray[np.uint8]:
        return training_crop(
            row.image, config.image_size, config.crop_area_min, random.Random(f"{seed}:{epoch}:{row.key}")
        )

    return _decoded(itertools.islice(chunks, skip, None), crop, split, config)


def evaluation_batches(split: Split, config: DataConfig, *, rank: int, size: int) -> Iterator[Batch]:
    """Every row of the split once over all ranks, in order; the last batch may be short.

    With fewer row groups than ranks the last ranks get nothing.
    """
    shards = min(size, len(split.row_groups))
    if rank >= shards:
        return iter(())
    chunks = _chunks(read_rows(split, rank, shards, seed=None), config.batch_size)
    return _decoded(chunks, lambda row: evaluation_crop(row.image, config.image_size), split, config)


def read_rows(split: Split, shard: int, shards: int, *, seed: int | None) -> Iterator[Row]:
    """The encoded rows of a shard: row groups shard, shard + shards, ...; in an order drawn from `seed`, if given."""
    check_folder(str(Path(split.folder).parent))
    _quieten_petastorm()
    reader = petastorm.make_reader(
        split.url,
        schema_fields=COLUMNS,
        workers_count=1,
        results_queue_size=2,  # row groups
        seed=seed,
        shuffle_row_groups=seed is not None,
        cur_shard=shard,
        shard_count=shards,
    )
    with reader:
        for row in reader:
            yield Row(str(row.key), bytes(row.image), row.classes, row.confidences)


def shuffled(rows: Iterable[Row], capacity: int, chance: random.Random) -> Iterator[Row]:
    """`rows` in another order: each comes from `capacity` rows that are held back, picked by `chance`."""
    held: list[Row] = []
    for row in rows:
        if len(held) < capacity:
            held.append(row)
            continue
        picked = chance.randrange(capacity)
        held[picked], row = row, held[picked]
        yield row
    chance.shuffle(held)
    yield from held


def dense_targets(rows: list[Row], num_classes: int) -> Tensor:
    """The confidences of `rows` as float32 (rows, num_classes), 0 where a row says nothing."""
    targets = np.zeros((len(rows), num_classes), dtype=np.float32)
    for target, row in zip(targets, rows, strict=True):
        if len(row.classes) and not 0 <= row.classes.min() <= row.classes.max() < num_classes:
            raise InputError(
                f"key '{row.key}' has classes {row.classes.tolist()}, the manifest says {num_classes} classes"
            )
        target[row.classes] = row.confidences
    return torch.from_numpy(targets)


def transform_spec(image_size: int, num_classes: int) -> TransformSpec:
    """For petastorm.make_batch_reader(..., transform_spec=...): rows of fixed shape, which it needs.

    `image` becomes uint8 (image_size, image_size, 3), the evaluation crop; `targets` float32 (num_classes,).
    """

    def transform(frame: Any) -> Any:
        rows = [Row(*values) for values in zip(*(frame[column] for column in COLUMNS), strict=True)]
        frame = frame[["key"]].copy()
        frame["image"] = [evaluation_crop(row.image, image_size) for row in rows]
        frame["targets"] = list(dense_targets(rows, num_classes).numpy())
        return frame

    return TransformSpec(
        transform,
        edit_fields=[
            ("image", np.uint8, (image_size, image_size, 3), False),
            ("targets", np.float32, (num_classes,), False),
        ],
        selected_fields=["key", "image", "targets"],
    )


def _quieten_petastorm() -> None:
    """For the rest of the process: its reader threads warn as long as it reads, where no catch_warnings reaches."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")
    # Both tell, at every opening, that our data sets hold no pickled schema; that is on purpose.
    warnings.filterwarnings("ignore", message="Currently make_reader supports reading only Petastorm datasets")
    logging.getLogger("petastorm.etl.dataset_metadata").setLevel(logging.WARNING)


def _decoded(
    chunks: Iterable[list[Row]], crop: Callable[[Row], NDArray[np.uint8]], split: Split, config: DataConfig
) -> Iterator[Batch]:
    """Batches in the order of `chunks`, decoded by threads that work up to BATCHES_AHEAD batches ahead."""
    with ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode") as pool:
        waiting: collections.deque[tuple[list[Row], list[Future[NDArray[np.uint8]]]]] = collections.deque()
        for chunk in chunks:
            waiting.append((chunk, [pool.submit(_crop_or_name, crop, row, split.folder) for row in chunk]))
            if len(waiting) > BATCHES_AHEAD:
                yield _batch(*waiting.popleft(), split.num_classes)
        while waiting:
            yield _batch(*waiting.popleft(), split.num_classes)


def _batch(rows: list[Row], pictures: list[Future[NDArray[np.uint8]]], num_classes: int) -> Batch:
    pixels = np.stack([picture.result() for picture in pictures])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return Batch([row.key for row in rows], images, dense_targets(rows, num_classes))


def _crop_or_name(crop: Callable[[Row], NDArray[np.uint8]], row: Row, folder: str) -> NDArray[np.uint8]:
    try:
        return crop(row)
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"the image of key '{row.key}' in {folder} cannot be decoded: {error}") from error


def _chunks(rows: Iterable[Row], length: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, length)):
        yield chunk


def _seed32(seed: int, epoch: int) -> int:
    """A seed that fits numpy's RandomState."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}".encode()).digest()[:4], "little")
