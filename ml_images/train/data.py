"""The readers: batches of a training epoch and of an evaluation, from rows that Arrow or Petastorm hands out.

The only importer of Petastorm. Both readers hand out row groups and nothing else differs: order, plan, decoding and
targets are the same code, so a run with the one gives the loss of a run with the other. Petastorm is asked for one row
group at a time, as it delivers several in the order in which they happen to finish, and cannot go on in the middle of
an epoch.
"""

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from ml_images.errors import InputError
from ml_images.options import option
from ml_images.storage.paths import join
from ml_images.train.dataset import Split, check_folder
from ml_images.train.decode import decode_crop
from ml_images.train.order import EpochOrder
from ml_images.train.plan import Stretch
from ml_images.train.reader import BadImages, Batch, Reader, Row, Stages
from ml_images.train.replication import copies_of_groups
from ml_images.train.row_groups import COLUMNS, ArrowRowGroups, RowGroup, RowGroups, to_row_group
from ml_images.train.transforms import Augmentation, Preprocessing, evaluation_crop, training_crop

if TYPE_CHECKING:
    from petastorm.transform import TransformSpec


@dataclass(frozen=True)
class DataConfig:
    path: str = option(help="a data set, as jobs/materialize.py writes it: a folder, s3://, gs:// or hdfs://")
    reader: Literal["arrow", "petastorm"] = option("arrow", "who reads the files; petastorm: local folders only")
    batch_size: int = option(128, "images a step on each rank")
    image_size: int = option(224, "side of the square that the network sees, in pixels")
    augmentation: Augmentation = option(
        "standard",
        "of training pictures: crops by area, flips and colour; or the crops, turns and colours of ML-Images",
    )
    crop_area_min: float = option(
        0.08, "smallest share of a picture's area that a training crop keeps; ML-Images: 0.7 in code, 0.05 in the paper"
    )
    colour: float = option(0.0, "by how much brightness, contrast and saturation may change (standard); 0: not at all")
    evaluation: Preprocessing = option("standard", "the crop that is evaluated; ml_images, ml_images_single: specs 2.5")
    decode_threads: int = option(2, "threads that decode pictures, per rank")
    bad_images: BadImages = option(
        "raise", "a picture that cannot be decoded stops the run, or is left out and counted"
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "decode_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} must be >= 1, got {getattr(self, name)}")
        if self.image_size < 32:
            raise ValueError(f"data.image_size must be >= 32 (a ResNet shrinks 32-fold), got {self.image_size}")
        if not 0 < self.crop_area_min <= 1:
            raise ValueError(f"data.crop_area_min must be in (0, 1], got {self.crop_area_min}")
        if not 0 <= self.colour <= 1:
            raise ValueError(f"data.colour must be in [0, 1], got {self.colour}")


def open_reader(split: Split, config: DataConfig, stages: Stages | None = None) -> Reader:
    """Raises InputError for a place that the reader cannot read, and for pickles."""
    groups: RowGroups = ArrowRowGroups(split) if config.reader == "arrow" else PetastormRowGroups(split)
    return Reader(
        groups, config.image_size, split.num_classes, config.decode_threads, config.bad_images, stages or Stages()
    )


def training_order(split: Split, seed: int, epoch: int) -> EpochOrder:
    """The order of a training epoch."""
    if not split.replicated:
        return EpochOrder(np.array(split.row_groups, np.int64), split.lanes, seed, epoch)
    copies = copies_of_groups(split, seed, epoch)
    return EpochOrder(np.array([part.sum() for part in copies], np.int64), split.lanes, seed, epoch, copies)


def training_batches(
    split: Split, config: DataConfig, stretch: Stretch, *, seed: int, epoch: int, stages: Stages | None = None
) -> Iterator[Batch]:
    """The batches of one rank in one epoch, from the place where `stretch` starts."""
    crop = training_crop(config.augmentation, config.crop_area_min, seed, epoch)

    def fill(row: Row, place: int, out: Any) -> None:
        decode_crop(row.image, lambda width, height: crop(place, width, height), out)

    return open_reader(split, config, stages).batches(training_order(split, seed, epoch), stretch, fill)


def evaluation_batches(split: Split, config: DataConfig, stretch: Stretch) -> Iterator[Batch]:
    """Every row of the split once over all ranks, in the order in which they lie, and padding behind them."""
    crop = evaluation_crop(config.evaluation)

    def fill(row: Row, place: int, out: Any) -> None:
        decode_crop(row.image, crop, out)

    order = EpochOrder(np.array(split.row_groups, np.int64), split.lanes, None)
    return open_reader(split, config).batches(order, stretch, fill)


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


class PetastormRowGroups:
    """One row group at a time by petastorm.make_batch_reader, from local folders."""

    def __init__(self, split: Split) -> None:
        if "://" in split.location:
            raise InputError(
                f"data.reader=petastorm reads local folders only (petastorm with pyarrow 14), got '{split.location}'; "
                "data.reader=arrow reads it"
            )
        if any(letter in split.location for letter in "?#;"):
            raise InputError(
                f"data.path: Petastorm takes the path for a URL, so '?', '#' and ';' cannot be in '{split.location}'"
            )
        check_folder(split.location.rpartition("/")[0])
        self._petastorm = _petastorm()
        _quieten_petastorm()
        self._split = split

    def read(self, group: int) -> RowGroup:
        file, number = self._split.place_of(group)
        location = join(self._split.location, file)
        place = f"{location}, row group {number}"
        groups = self._split.groups_per_file[self._split.files.index(file)]
        try:
            reader = self._petastorm.make_batch_reader(
                f"file://{location}",  # as_uri would quote the '=', which Petastorm does not unquote
                schema_fields=COLUMNS,
                transform_spec=self._petastorm.TransformSpec(_as_bytes, edit_fields=_AS_BYTES),
                cur_shard=number,
                shard_count=groups,
                shuffle_row_groups=False,
                num_epochs=1,
                reader_pool_type="dummy",
            )
            with contextlib.closing(_Stopped(reader)):
                rows = next(reader)
        except (OSError, pa.ArrowException, StopIteration) as error:
            raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        table = pa.table(
            {
                "key": pa.array(rows.key.tolist(), pa.string()),
                "classes": pa.array([np.frombuffer(text, np.int32) for text in rows.classes], pa.list_(pa.int32())),
                "confidences": pa.array(
                    [np.frombuffer(text, np.float32) for text in rows.confidences], pa.list_(pa.float32())
                ),
            }
        )
        return to_row_group(table, rows.image.tolist(), self._split.row_groups[group], place)


class _Stopped:
    """Closes a reader of Petastorm, which wants to be stopped and joined."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def close(self) -> None:
        self._reader.stop()
        self._reader.join()


def _as_bytes(frame: Any) -> Any:
    for name, kind in (("classes", np.int32), ("confidences", np.float32)):
        frame[name] = [np.asarray(items, kind).tobytes() for items in frame[name]]
    return frame


# make_batch_reader wants lists of equal length, and Petastorm 0.12 has no codec for others.
_AS_BYTES = [("classes", np.bytes_, (), False), ("confidences", np.bytes_, (), False)]


@functools.cache
def _petastorm() -> ModuleType:
    """Petastorm, for those who want it: importing it takes 0.2 s, and it goes with few versions of pyarrow only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # petastorm 0.12 imports what pyarrow 14 and setuptools call deprecated
        import petastorm
    return petastorm


def _quieten_petastorm() -> None:
    """For the rest of the process: its reader threads warn as long as it reads, where no catch_warnings reaches."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"petastorm\.")
    # Both tell, at every opening, that our data sets hold no pickled schema; that is on purpose.
    warnings.filterwarnings("ignore", message="Currently make_reader supports reading only Petastorm datasets")
    logging.getLogger("petastorm.etl.dataset_metadata").setLevel(logging.WARNING)
