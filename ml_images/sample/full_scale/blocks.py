"""One block of a list: its bytes and what a reader must find in them. Row i is made from (seed, i) alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.sample.full_scale import dialect
from ml_images.sample.full_scale.chance import stream_key, units
from ml_images.sample.full_scale.draw import CONFIDENCES, Tags, closed_counts, draw_seeds, release
from ml_images.sample.full_scale.fit import Model
from ml_images.sample.full_scale.text import Texts, Writer, flickr_urls, folder_names, imagenet_keys
from ml_images.sample.plan import IMAGENET, OPEN_IMAGES

Int64 = npt.NDArray[np.int64]

BLOCK_ROWS = 1 << 17  # some 15 MB of text


@dataclass(frozen=True)
class Block:
    """Lines first .. first + rows - 1 (from 0) of the list `name`."""

    name: str
    first: int
    rows: int


@dataclass(frozen=True, eq=False)
class Facts:
    """What is in some lines; `dialects` counts by Maker.dialects, `images` and `closed` by class, `confidences` as
    CONFIDENCES. Tags of malformed lines do not count."""

    lines: int
    dialects: Int64
    confidences: Int64
    images: Int64
    closed: Int64  # after closed_max

    def __add__(self, other: "Facts") -> "Facts":
        return Facts(
            self.lines + other.lines,
            self.dialects + other.dialects,
            self.confidences + other.confidences,
            self.images + other.images,
            self.closed + other.closed,
        )


class Maker:
    """Makes the blocks of the lists of one (vocabulary, seed, malformed share)."""

    def __init__(self, ids: Sequence[str], model: Model, seed: int, malformed: float) -> None:
        num_classes = len(ids)
        bad = dialect.malformed(num_classes)
        self.dialects = (dialect.PLAIN, *bad, *dialect.ODD)
        self._num_bad, self._malformed = len(bad), malformed
        self._model, self._seed = model, seed
        self._folders = folder_names(ids)
        self._writer = Writer(self.dialects, num_classes)
        self._accepted = np.array([each.reason is None for each in self.dialects])

    def nothing(self) -> Facts:
        num_classes = self._model.above.num_classes
        return Facts(
            0, *(np.zeros(n, np.int64) for n in (len(self.dialects), len(CONFIDENCES), num_classes, num_classes))
        )

    def make(self, block: Block) -> tuple[npt.NDArray[np.uint8], Facts]:
        """(bytes of the lines, what is in them)."""
        tags, keys = self._rows(block)
        numbers = self._dialects_of(block)
        data = self._writer.lines(keys, tags, numbers, self._key(block, "spaces"), block.first)
        kept = self._accepted[numbers]
        tag_kept = np.repeat(kept, np.diff(tags.offsets))
        above = self._model.above
        return data, Facts(
            block.rows,
            np.bincount(numbers, minlength=len(self.dialects)),
            np.bincount(tags.literals[tag_kept], minlength=len(CONFIDENCES)),
            np.bincount(tags.classes[tag_kept], minlength=above.num_classes),
            closed_counts(tags, kept, above),
        )

    def _rows(self, block: Block) -> tuple[Tags, Texts]:
        seeding = {IMAGENET: self._model.imagenet, OPEN_IMAGES: self._model.open_images}[block.name]
        seeds = draw_seeds(seeding, self._key(block, "tags"), block.first, block.rows)
        if block.name == IMAGENET:
            keys = imagenet_keys(self._folders, seeds.classes, block.first)  # one source tag a row
        else:
            keys = flickr_urls(self._key(block, "urls"), block.first, block.rows)
        return release(seeds, self._model.above), keys

    def _dialects_of(self, block: Block) -> Int64:
        """Position in `dialects` for each line: a share is malformed, as many again are odd, the others plain."""
        key = self._key(block, "dialects")
        lot = units(key, block.first, block.rows, 0)
        which = units(key, block.first, block.rows, 1)
        bad = 1 + (which * self._num_bad).astype(np.int64)
        odd = 1 + self._num_bad + (which * len(dialect.ODD)).astype(np.int64)
        return np.where(lot < self._malformed, bad, np.where(lot < 2 * self._malformed, odd, 0))

    def _key(self, block: Block, purpose: str) -> np.uint64:
        return stream_key(self._seed, f"{block.name} {purpose}")
