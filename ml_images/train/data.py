"""The readers: batches of a training epoch and of an evaluation, from rows that Arrow or Petastorm hands out.

Both hand out row groups and nothing else differs: order, plan, decoding and targets are the same code, so a run with
the one gives the loss of a run with the other.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ml_images.errors import InputError
from ml_images.options import option
from ml_images.train.dataset import Split
from ml_images.train.decode import decode_crop
from ml_images.train.order import EpochOrder
from ml_images.train.petastorm import PetastormRowGroups
from ml_images.train.plan import Stretch, training_stretch
from ml_images.train.reader import BadImages, Batch, Reader, Row, Stages
from ml_images.train.replication import copies_of_groups
from ml_images.train.resolution import ResolutionConfig, image_size
from ml_images.train.row_groups import ArrowRowGroups, RowGroups
from ml_images.train.transforms import Augmentation, Preprocessing, evaluation_crop, normalise, training_crop


@dataclass(frozen=True)
class DataConfig:
    path: str = option(help="a data set, as jobs/materialize.py writes it: a folder, s3://, gs:// or hdfs://")
    reader: Literal["arrow", "petastorm"] = option("arrow", "who reads the files; petastorm: local folders only")
    batch_size: int = option(128, "images a step on each rank")
    image_size: int = option(224, "side of the square that the network sees, in pixels")
    augmentation: Augmentation = option(
        "standard",
        "of training pictures: crops by area, flips and colour; the crops, turns and colours of ML-Images; shift: "
        "small pictures moved by up to an eighth, flips and colour",
    )
    crop_area_min: float = option(
        0.08, "smallest share of a picture's area that a training crop keeps; ML-Images: 0.7 in code, 0.05 in the paper"
    )
    colour: float = option(0.0, "by how much brightness, contrast and saturation may change (standard); 0: not at all")
    evaluation: Preprocessing = option(
        "standard",
        "the crop that is evaluated; ml_images, ml_images_single: specs 2.5; whole: the middle square, all of it",
    )
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


def training_pictures(split: Split, config: DataConfig, count: int, seed: int) -> Tensor:
    """float32 (pictures, 3, side, side): what the network sees in the first steps of a run of one rank, but for changed
    colours; `count` of them and the rest of a batch, where there are as many."""
    stretch = Stretch(0, 1, config.batch_size, 0, -(-min(count, split.rows) // config.batch_size))
    batches = training_batches(split, config, stretch, seed=seed, epoch=0)
    return torch.cat([normalise(batch.images[batch.mask], config.augmentation) for batch in batches])


@dataclass
class TrainingReader:
    """The training rows of one rank, epoch after epoch, from any place in any epoch; where it stands is a state of a
    few words that is the same on all ranks, and that any other number of ranks can go on from.

    data_set: what tells data sets apart (dataset.digest_of); rows: of an epoch that batches are cut from (as many as
    every epoch has: replication.sure_rows).
    """

    split: Split
    config: DataConfig
    _: KW_ONLY
    seed: int
    data_set: str
    rows: int
    rank: int = 0
    size: int = 1
    resolution: ResolutionConfig = field(default_factory=ResolutionConfig)
    stages: Stages = field(default_factory=Stages)
    epoch: int = 0
    place: int = 0  # rows of the epoch that all ranks together were given

    def batches(self) -> Iterator[Batch]:
        """The batches that are left of the epoch, as many on every rank; the state stands behind the last one given,
        whatever has been read ahead."""
        stretch = training_stretch(self.rows, self.config.batch_size, self.rank, self.size, self.place)
        side = image_size(self.resolution, self.config.image_size, self.epoch)
        config = dataclasses.replace(self.config, image_size=side)
        for batch in training_batches(
            self.split, config, stretch, seed=self.seed, epoch=self.epoch, stages=self.stages
        ):
            self.place += stretch.batch_size * stretch.size
            yield batch

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch; what is left of this one stays unread."""
        self.epoch, self.place = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, and what decides which rows come next; JSON."""
        return {"epoch": self.epoch, "place": self.place, "seed": self.seed, "data_set": self.data_set}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where another reader was, of whatever kind, rank, number of ranks and batch size: `batches` then gives
        the rows that are left, and only those. Between epochs seed and data set may change.

        Raises InputError for the state of another order of rows in the middle of an epoch, where rows would come twice
        or never, and for what is no state.
        """
        fresh = self.state_dict()
        if state.keys() != fresh.keys():
            raise InputError(f"the state of a reader has {', '.join(fresh)}, this has {', '.join(state) or 'nothing'}")
        for name, most in (("epoch", None), ("place", self.rows)):
            if type(state[name]) is not int or state[name] < 0 or (most is not None and state[name] > most):
                accepted = ">= 0" if most is None else f"from 0 to {most}, the rows of an epoch"
                raise InputError(
                    f"the state of a reader has {name}={state[name]!r}, expected a whole number {accepted}"
                )
        for name in ("seed", "data_set"):
            if state["place"] and state[name] != fresh[name]:
                raise InputError(
                    f"the checkpoint is in the middle of an epoch with {name}={state[name]}, this run has "
                    f"{name}={fresh[name]}: go on with the same, or from a checkpoint at the end of an epoch"
                )
        self.epoch, self.place = state["epoch"], state["place"]


def evaluation_batches(split: Split, config: DataConfig, stretch: Stretch) -> Iterator[Batch]:
    """Every row of the split once over all ranks, in the order in which they lie, and padding behind them."""
    crop = evaluation_crop(config.evaluation)

    def fill(row: Row, place: int, out: Any) -> None:
        decode_crop(row.image, crop, out)

    order = EpochOrder(np.array(split.row_groups, np.int64), split.lanes, None)
    return open_reader(split, config).batches(order, stretch, fill)
