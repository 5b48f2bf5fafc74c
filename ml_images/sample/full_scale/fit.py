"""Which class gets which place on the published curve, and the weights of the source tags that lead there.

Expected images of a class are known exactly: an ImageNet row has it when its one class is it or below it; a row of
Open Images with m unsure and n sure source tags has it with probability 1 - (1 - a)^m (1 - b)^n, where a and b are
the chances that one such tag brings the class. Weights are moved towards the curve by multiplicative rounds, as in
maximum likelihood of counts (Lucy 1974): each weight times the mean of wanted / expected over the classes it brings.

The curve names no classes. They take their places in the order of their expected images, a parent always before its
children: first the expectation for equal ImageNet classes, later that of the weights so far, which moves the curve to
where the hierarchy can follow. The number of source tags of an Open Images row is a mixture
over pairs (unsure, sure), found by expectation maximisation from simulated rows, so that together with the paths of
ImageNet the tags per image are those published.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_images.sample.full_scale.chance import stream_key
from ml_images.sample.full_scale.curve import (
    CLASSES,
    IMAGENET_ROWS,
    MOST_TAGS,
    OPEN_IMAGES_ROWS,
    resampled,
    tags_per_image,
)
from ml_images.sample.full_scale.draw import Seeding, Upward, draw_seeds, edges, release

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

IMAGENET_SHARE = IMAGENET_ROWS / (IMAGENET_ROWS + OPEN_IMAGES_ROWS)

# The published lists: 10,032 classes of ImageNet and 1,134 others; 1,345 classes in the Open Images files.
_WITHOUT_IMAGENET = 1_134 / CLASSES
_IN_OPEN_IMAGES = 1_345 / CLASSES
_FEWEST_IN_OPEN_IMAGES = 100  # so that a small vocabulary keeps some variety

# Spellings among the 827 tags of the published 100 rows: 470 times 1, 49 times 1.0, 135 times 0.9, 173 times 0.8.
_LITERAL_EDGES = np.array([470 / (470 + 49), 135 / (135 + 173)])
_ONLY_ONE = np.array([1.0, 1.0])

_TINY = 1e-100
_LARGEST = 13_217_523 / 17_698_491  # the most frequent class's share of the train and val images

_MOST_UNSURE, _MOST_SURE = 8, 5  # source tags of a row
_PARTS = tuple((m, n) for m in range(_MOST_UNSURE + 1) for n in range(_MOST_SURE + 1) if m + n)

_START = 1  # of the chances in here: weights belong to a vocabulary, whatever seed rows are drawn with
_ROUNDS = 200
_ROUNDS_A_PLACE = 10  # rounds after which classes change places and the mixture is found anew
_SIMULATED = 1_000  # rows for each part of the mixture
_MIXTURE_ROUNDS = 200
_POWER = 0.1  # of 1 / wanted, the weight of a class in the means: large classes lead, small ones do not wait


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that rows are drawn from."""

    above: Upward
    imagenet: Seeding
    open_images: Seeding


def fit(above: Upward, counts: Float64) -> Model:
    """Weights whose expected images of a class follow `counts` (descending), as far as the hierarchy allows.

    Counts of another number of classes are resampled, and they are scaled to the number of tags of a row.
    """
    num_classes = above.num_classes
    hierarchy = _Hierarchy(above)
    curve = resampled(counts, num_classes)
    rng = np.random.default_rng([_START, 1])
    shuffled = rng.permutation(num_classes)
    in_imagenet = np.ones(num_classes, bool)
    in_imagenet[shuffled[: round(_WITHOUT_IMAGENET * num_classes)]] = False
    in_open_images = np.zeros(num_classes, bool)
    in_open_images[shuffled[: max(round(_IN_OPEN_IMAGES * num_classes), _FEWEST_IN_OPEN_IMAGES)]] = True

    # ImageNet aims at equal classes; Open Images prefers general ones, and some of them far more than others. These
    # starts, and that of the mixture, also decide what the wanted figures leave open: 35 % of the tags of the Open
    # Images rows come out unsure, as against 37 % in the published 100 rows.
    imagenet = _shares(in_imagenet * rng.uniform(0.5, 1.5, num_classes))
    generality = hierarchy.from_all(np.ones(num_classes))
    open_images = _shares(in_open_images * generality / (rng.random(num_classes) + 0.03))
    mixture = _shares(np.array([0.9**m * 0.2**n for m, n in _PARTS]))
    place = np.empty(num_classes, np.int64)  # of each class on the curve
    for step in range(_ROUNDS):
        chance, by_unsure, by_sure = _open_images_chances(hierarchy, open_images, mixture)
        expected = IMAGENET_SHARE * hierarchy.from_all(imagenet) + (1 - IMAGENET_SHARE) * chance
        if step % _ROUNDS_A_PLACE == 0:
            place[np.lexsort((hierarchy.num_ancestors, -hierarchy.most_below(expected)))] = np.arange(num_classes)
            imagenet = _shares(np.where(curve[place] > 0, imagenet, 0.0), instead=curve[place])
            open_images = _shares(np.where(curve[place] > 0, open_images, 0.0), instead=curve[place])
            rows_left = tags_per_image() - IMAGENET_SHARE * _lengths(hierarchy, imagenet)
            mixture = _fit_mixture(above, open_images, mixture, rows_left.clip(min=0))
            continue
        wanted = _scaled(curve, expected.sum())[place]
        ratio = _quotient(wanted, expected)
        weight = np.where(wanted > 0, wanted, 1.0) ** -_POWER * (wanted > 0)
        towards = _quotient(hierarchy.over_all(weight * ratio), hierarchy.over_all(weight))
        imagenet = _shares(imagenet * towards)
        gained = hierarchy.over_parents(by_unsure * weight * ratio) + hierarchy.over_all(by_sure * weight * ratio)
        had = hierarchy.over_parents(by_unsure * weight) + hierarchy.over_all(by_sure * weight)
        # `had` is 0 where one more source tag would change nothing: such a weight stays.
        open_images = _shares(open_images * np.where(had > 0, _quotient(gained, had), 1.0))
    one_path = np.zeros(1, np.int64), np.ones(1, np.int64)
    return Model(
        above,
        Seeding(edges(imagenet), np.ones(1), *one_path, _ONLY_ONE),
        _open_images_seeding(open_images, mixture),
    )


class _Hierarchy:
    """Sums up and down the hierarchy: over the classes that a tag brings, and over the tags that bring a class."""

    def __init__(self, above: Upward) -> None:
        self._all = _with_self(above.ancestors_indptr, above.ancestors)
        self._parents = _with_self(above.parents_indptr, above.parents)
        self.num_ancestors = np.diff(above.ancestors_indptr)

    def over_all(self, values: Float64) -> Float64:
        """Sum over each class and its ancestors."""
        return _over(self._all, values)

    def most_below(self, values: Float64) -> Float64:
        """The highest value of each class and its descendants."""
        starts, members = self._all
        highest = values.copy()
        np.maximum.at(highest, members, np.repeat(values, np.diff(starts, append=len(members))))
        return highest

    def over_parents(self, values: Float64) -> Float64:
        return _over(self._parents, values)

    def from_all(self, weights: Float64) -> Float64:
        """Sum over each class and its descendants."""
        return _from(self._all, weights)

    def from_children(self, weights: Float64) -> Float64:
        return _from(self._parents, weights)


def _with_self(indptr: Int64, indices: npt.NDArray[np.int32]) -> tuple[Int64, Int64]:
    """(starts, members): the lists of all classes, each with the class itself before it."""
    counts = np.diff(indptr)
    return indptr[:-1] + np.arange(len(counts)), np.insert(
        indices.astype(np.int64), indptr[:-1], np.arange(len(counts))
    )


def _over(lists: tuple[Int64, Int64], values: Float64) -> Float64:
    starts, members = lists
    return np.add.reduceat(values[members], starts)


def _from(lists: tuple[Int64, Int64], weights: Float64) -> Float64:
    starts, members = lists
    counts = np.diff(starts, append=len(members))
    return np.bincount(members, np.repeat(weights, counts), minlength=len(weights)).astype(np.float64)


def _open_images_chances(hierarchy: _Hierarchy, weights: Float64, mixture: Float64) -> tuple[Float64, Float64, Float64]:
    """Chance that a row has the class; how it grows with the chance that an unsure, a sure source tag brings it."""
    miss_unsure = (1 - hierarchy.from_children(weights)).clip(min=0)
    miss_sure = (1 - hierarchy.from_all(weights)).clip(min=0)
    unsure = miss_unsure ** np.arange(_MOST_UNSURE + 1)[:, None]
    sure = miss_sure ** np.arange(_MOST_SURE + 1)[:, None]
    table = np.zeros((_MOST_UNSURE + 1, _MOST_SURE + 1))
    for (m, n), share in zip(_PARTS, mixture, strict=True):
        table[m, n] = share
    per_unsure = table[1:] * np.arange(1, _MOST_UNSURE + 1)[:, None]
    per_sure = table[:, 1:] * np.arange(1, _MOST_SURE + 1)
    chance = 1 - (unsure * (table @ sure)).sum(axis=0)
    return chance, (unsure[:-1] * (per_unsure @ sure)).sum(axis=0), (unsure * (per_sure @ sure[:-1])).sum(axis=0)


def _lengths(hierarchy: _Hierarchy, imagenet: Float64) -> Float64:
    """Share of ImageNet's rows that have t tags, t = 0..MOST_TAGS; longer paths count as MOST_TAGS."""
    lengths = np.minimum(hierarchy.num_ancestors + 1, MOST_TAGS)
    return np.bincount(lengths, imagenet, minlength=MOST_TAGS + 1).astype(np.float64)


def _fit_mixture(above: Upward, weights: Float64, mixture: Float64, wanted: Float64) -> Float64:
    """The shares of _PARTS under which rows come closest to `wanted` (rows that have t tags)."""
    if not wanted.any():
        return mixture
    wanted = wanted / wanted.sum()
    lengths = np.empty((len(_PARTS), MOST_TAGS + 1))
    for part, (m, n) in enumerate(_PARTS):
        one = Seeding(edges(weights), np.ones(1), np.array([m]), np.array([n]), _LITERAL_EDGES)
        rows = release(draw_seeds(one, stream_key(_START, f"mixture {part}"), 0, _SIMULATED), above)
        counts = np.minimum(np.diff(rows.offsets), MOST_TAGS)
        lengths[part] = np.bincount(counts, minlength=MOST_TAGS + 1) / _SIMULATED
    for _ in range(_MIXTURE_ROUNDS):
        mixture = _shares(mixture * (lengths @ _quotient(wanted, mixture @ lengths)), instead=mixture)
    return mixture


def _open_images_seeding(weights: Float64, mixture: Float64) -> Seeding:
    unsure, sure = np.array(_PARTS, np.int64).T
    return Seeding(
        edges(weights), edges(mixture), np.ascontiguousarray(unsure), np.ascontiguousarray(sure), _LITERAL_EDGES
    )


def _scaled(curve: Float64, tags: float) -> Float64:
    """`curve` as shares of the images, with `tags` tags an image; where that lifts the first above _LARGEST, those
    stay there and the others take what is left: classes of a small hierarchy share the tags of long rows."""
    for capped in range(np.count_nonzero(curve)):
        rest = curve[capped:] * ((tags - capped * _LARGEST) / curve[capped:].sum())
        if rest[0] <= _LARGEST:
            return np.concatenate([np.full(capped, _LARGEST), rest])
    return np.where(curve > 0, _LARGEST, 0.0)


def _quotient(above: Float64, below: Float64) -> Float64:
    """0 where `below` is; never so large that a product overflows."""
    return np.where(below > 0, above / np.maximum(below, _TINY), 0.0)


def _shares(weights: Float64, instead: Float64 | None = None) -> Float64:
    """Weights that sum to 1; those of `instead` where all are 0."""
    if instead is not None and not weights.any():
        weights = instead
    return weights / weights.sum()
