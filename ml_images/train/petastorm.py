"""Petastorm, which nothing else imports: our data sets through it, by row group or as a transform for its own readers.

What reads is the worker that petastorm.make_batch_reader runs in its threads, asked for one row group after the other.
make_batch_reader itself delivers whole epochs, in the order in which row groups happen to finish, and cannot go on in
the middle of one; to open one for each row group took Petastorm longer than to read it.
"""

import functools
import importlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.errors import InputError
from ml_images.storage.paths import join
from ml_images.train.buffer_pool import BufferPool
from ml_images.train.dataset import Split, check_folder
from ml_images.train.decode import decode_crop
from ml_images.train.footers import KEPT
from ml_images.train.group_size import COLUMNS, GroupSize
from ml_images.train.row_groups import RowGroup, pictures_of, to_row_group
from ml_images.train.transforms import evaluation_crop

if TYPE_CHECKING:
    from petastorm.transform import TransformSpec


class PetastormRowGroups:
    """One row group at a time by Petastorm's worker, from local folders."""

    at_once = 1  # beside two threads that decode on two cores, two took no less time and more memory

    def __init__(self, split: Split) -> None:
        if "://" in split.location:
            raise InputError(
                f"data.reader=petastorm reads local folders only (petastorm with pyarrow 14), got '{split.location}'; "
                "data.reader=arrow reads it"
            )
        check_folder(split.location.rpartition("/")[0])
        _petastorm()
        _quieten_petastorm()
        self._split = split
        self._delivered = threading.local()
        self._buffers = BufferPool(split.largest.pictures)
        # Nothing that leads back here, in which row groups would be kept until somebody looks for cycles.
        self._worker_of = functools.lru_cache(KEPT)(functools.partial(_worker_of, split.location, self._delivered))

    def read(self, group: int) -> RowGroup:
        file, number = self._split.place_of(group)
        place = f"{join(self._split.location, file)}, row group {number}"
        try:
            self._worker_of(file)(number)
            table = self._delivered.__dict__.pop("table", None)
            if table is None:
                raise OSError("Petastorm delivers nothing")  # as it does for no rows
            images = pictures_of(table, self._buffers)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last of damaged names of columns
            raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        return to_row_group(table, images, self._split.row_groups[group], place)

    def beside(self, size: GroupSize) -> int:
        return size.beside_petastorm


def _worker_of(location: str, delivered: threading.local, file: str) -> Callable[[int], None]:
    """What reads a row group of a file, by its number, and delivers it to the thread that asks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from petastorm.arrow_reader_worker import ArrowReaderWorker
        from petastorm.cache import NullCache
        from petastorm.unischema import Unischema

        path, filesystem = join(location, file), pa.localfs
        dataset = pq.ParquetDataset(path, filesystem=filesystem, validate_schema=False)
        # As petastorm.etl.dataset_metadata.load_row_groups makes them, which says for each file that its data set
        # may be unfinished, as it knows none of the metadata beside it.
        footer = dataset.pieces[0].get_metadata()
        opened = functools.partial(pq.ParquetFile, metadata=footer)
        pieces = [pq.ParquetDatasetPiece(path, opened, row_group=number) for number in range(footer.num_row_groups)]
        for piece in pieces:  # by the thread that asks: Arrow's own beside those that decode cost a tenth more CPU
            piece.read = functools.partial(piece.read, use_threads=False)

    def deliver(table: pa.Table) -> None:
        delivered.table = table

    schema = Unischema.from_arrow_schema(dataset).create_schema_view(COLUMNS)
    given = {"ngram": None, "pieces": pieces, "cache": NullCache(), "transform": None}
    given |= {"transformed": schema, "filters": None, "shuffle_rows": False, "seed": None}
    worker = ArrowReaderWorker(0, deliver, (filesystem, path, schema, *given.values()))
    return lambda number: worker.process(number, None, (0, 1))  # no predicate; the first of one part of it


def transform_spec(image_size: int, num_classes: int) -> "TransformSpec":
    """For petastorm.make_batch_reader(..., transform_spec=...): rows of fixed shape, which it needs.

    `image` becomes uint8 (image_size, image_size, 3), the evaluation crop; `targets` float32 (num_classes,).
    """
    crop = evaluation_crop("standard")

    def transform(frame: Any) -> Any:
        images, targets = [], np.zeros((len(frame), num_classes), np.float32)
        for target, data, classes, confidences in zip(
            targets, frame["image"], frame["classes"], frame["confidences"], strict=True
        ):
            images.append(np.empty((image_size, image_size, 3), np.uint8))
            decode_crop(data, crop, images[-1])
            target[classes] = confidences
        frame = frame[["key"]].copy()
        frame["image"], frame["targets"] = images, list(targets)
        return frame

    return _petastorm().TransformSpec(
        transform,
        edit_fields=[
            ("image", np.uint8, (image_size, image_size, 3), False),
            ("targets", np.float32, (num_classes,), False),
        ],
        selected_fields=["key", "image", "targets"],
    )


@functools.cache
def _petastorm() -> ModuleType:
    """Petastorm, for those who want it: importing it takes 0.2 s, and it goes with few versions of pyarrow only."""
    with _pandas_later(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # petastorm 0.12 imports what pyarrow 14 and setuptools call deprecated
        import petastorm
    return petastorm


class _LaterPandas(ModuleType):
    """pandas as soon as it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get("pandas") is self:
            raise AttributeError(name)
        return getattr(importlib.import_module("pandas"), name)


@contextmanager
def _pandas_later() -> Iterator[None]:
    """What is imported within gets pandas only where it uses it. Petastorm's worker imports it for what we do not ask
    of it, frames for a transform: 45 MiB. (importlib.util.LazyLoader loads it at once, up to Python 3.11.)"""
    if "pandas" in sys.modules:
        yield
        return
    later = sys.modules["pandas"] = _LaterPandas("pandas")
    try:
        yield
    finally:
        if sys.modules.get("pandas") is later:
            del sys.modules["pandas"]


def _quieten_petastorm() -> None:
    """For the rest of the process: threads that read through Petastorm warn as long as they read, where no
    catch_warnings reaches."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")
