"""The figures of a report: which numbers are drawn how, and what each one says in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from ml_images.labels.statistics import ORIGINS, TRAINABLE_ABOVE
from ml_images.outcomes import BY_NAME
from ml_images.report.contents import Report, TrainingPoint
from ml_images.report.depths import depths
from ml_images.report.funnel import by_weight
from ml_images.report.svg import (
    BLUE,
    DARK_VERMILLION,
    GREEN,
    GREY,
    HEIGHT_IN,
    INK,
    ORANGE,
    SKY,
    VERMILLION,
    Figure,
    canvas,
    chart,
    inline,
)

# More points than the figure has pixels show nothing and weigh hundreds of kilobytes.
MAX_CURVE_POINTS = 800

# Bars for 0 to 39 tags and one for all rows with more: that many stay readable, and ML-Images has next to none above.
MAX_TAG_BARS = 41

# Above the axes no bar is in its way, whatever the numbers.
_LEGEND_COLUMNS = 3
_LEGEND_ABOVE: Any = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": _LEGEND_COLUMNS, "borderaxespad": 0}

_MARK: Any = {"color": VERMILLION, "linewidth": 1, "linestyle": (0, (4, 3))}  # a line that the bars are compared with

_TRAINABLE = f"more_than_{TRAINABLE_ABOVE}_images"

_ORIGIN_WORDS = {origin: origin for origin in ORIGINS} | {"ancestor": "added by closure"}
_ORIGIN_COLOURS = dict(zip(ORIGINS, (BLUE, ORANGE, GREEN, VERMILLION, GREY), strict=True))

_THOUSANDS = FuncFormatter(lambda value, _: _short(value))


def figures(report: Report) -> tuple[Figure, ...]:
    """Every figure for which `report` has numbers, in the order of the page."""
    drawn = []
    if report.statistics["labels"]["present"]:
        drawn.append(images_per_class(report.images_per_class))
    if report.statistics["rows"]:
        drawn.append(tags_per_image(report.tags_per_image))
    by_depth = depths(report)
    if report.statistics["labels"]["present"]:
        drawn.append(labels_by_depth([row["labels"] for row in by_depth], [row["classes"] for row in by_depth]))
        drawn.append(origins_by_depth([row["labels_per_origin"] for row in by_depth]))
        drawn.append(classes_by_depth([(row[_TRAINABLE], row["with_images"], row["classes"]) for row in by_depth]))
    if report.outcomes:
        drawn.append(outcomes(report.outcomes))
    if report.dataset is not None:
        drawn.append(splits(report.dataset.rows_per_split))
    if report.training is not None and report.training.points:
        drawn.append(training(report.training.points, report.training.prior_map))
    return tuple(drawn)


def images_per_class(counts: np.ndarray) -> Figure:
    """Images of each class, classes sorted by them, on a log axis; `counts` is int (classes,), at least one above 0."""
    some = np.sort(counts[counts > 0])[::-1]
    empty = len(counts) - len(some)
    above = int((some > TRAINABLE_ABOVE).sum())
    ranks = np.unique(np.linspace(0, len(some) - 1, MAX_CURVE_POINTS).round().astype(int))
    with chart() as (figure, axes):
        axes.plot(ranks + 1, some[ranks], color=BLUE, linewidth=1.8, gid="curve")
        axes.fill_between(ranks + 1, some[ranks], 0.8, color=BLUE, alpha=0.14, linewidth=0)
        axes.axhline(TRAINABLE_ABOVE, **_MARK)
        # Where the curve is not: over the left half of the line while the curve is above it, else over the right half.
        at, align, shift = (0, "left", 6) if above > len(some) / 2 else (1, "right", -4)
        axes.annotate(
            f"{TRAINABLE_ABOVE} images: {above:,} classes have more",
            (at, TRAINABLE_ABOVE),
            xycoords=("axes fraction", "data"),
            xytext=(shift, 4),
            textcoords="offset points",
            ha=align,
            color=DARK_VERMILLION,
        )
        axes.set_yscale("log")
        axes.set_ylim(0.8, max(some[0], TRAINABLE_ABOVE) * 2)
        axes.yaxis.set_major_locator(LogLocator(numticks=9))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_THOUSANDS)
        axes.set_xlim(0.5, len(some) + 0.5)
        axes.xaxis.set_major_locator(_ticks(7))
        axes.xaxis.set_major_formatter(_THOUSANDS)
        more = f" ({empty:,} more have no image)" if empty else ""
        axes.set_xlabel(f"classes, most frequent first{more}")
        axes.set_ylabel("images (log scale)")
        axes.grid(axis="y")
        alt = (
            f"Images per class, sorted, log scale: from {some[0]:,} to {some[-1]:,} over {len(some):,} classes with "
            f"images; {above:,} have more than {TRAINABLE_ABOVE}, {empty:,} have none."
        )
        return inline(figure, "images-per-class", "Images per class", alt)


def tags_per_image(rows: np.ndarray) -> Figure:
    """Rows by their number of tags; `rows` is int (most tags + 1,) with at least one above 0."""
    shown = rows
    if len(rows) > MAX_TAG_BARS:
        shown = np.append(rows[: MAX_TAG_BARS - 1], rows[MAX_TAG_BARS - 1 :].sum())
    total, tags = int(rows.sum()), int(rows @ np.arange(len(rows)))
    mode = int(rows.argmax())
    mean = min(tags / total, len(shown) - 1)  # in the last bar if that is where it lies
    align, shift = ("right", -4) if mean > 0.8 * len(shown) else ("left", 4)
    with chart() as (figure, axes):
        _bars(axes.bar(np.arange(len(shown)), shown, width=0.82, color=BLUE))
        axes.axvline(mean, **_MARK)
        axes.annotate(
            f"mean {tags / total:.2f}",
            (mean, 1),
            xycoords=("data", "axes fraction"),
            xytext=(shift, 0),
            textcoords="offset points",
            ha=align,
            va="top",
            color=DARK_VERMILLION,
        )
        if len(rows) > MAX_TAG_BARS:
            axes.set_xticks([*range(0, MAX_TAG_BARS - 5, 5), MAX_TAG_BARS - 1])
            axes.set_xticklabels([*map(str, range(0, MAX_TAG_BARS - 5, 5)), f"≥ {MAX_TAG_BARS - 1}"])
        else:
            axes.xaxis.set_major_locator(_ticks(12))
        axes.set_xlim(-0.7, len(shown) - 0.3)
        axes.set_ylim(0, shown.max() * 1.1)
        axes.yaxis.set_major_locator(_ticks(6))
        axes.yaxis.set_major_formatter(_THOUSANDS)
        axes.set_xlabel("tags of an image (labels with confidence above 0)")
        axes.set_ylabel("rows")
        axes.grid(axis="y")
        alt = (
            f"Tags per image: {total:,} rows with {tags / total:.2f} tags on average; the most common number is {mode} "
            f"({int(rows[mode]):,} rows), the highest {int(np.flatnonzero(rows)[-1])}."
        )
        return inline(figure, "tags-per-image", "Tags per image", alt)


def labels_by_depth(labels: Sequence[int], classes: Sequence[int]) -> Figure:
    """Share of all labels beside share of all classes, by depth in the hierarchy; both by depth, from 0."""
    label_shares, class_shares = np.array(labels) / sum(labels), np.array(classes) / sum(classes)
    at = np.arange(len(label_shares))
    with chart(1) as (figure, axes):
        _bars(axes.bar(at - 0.21, label_shares, width=0.4, color=BLUE, label="of the labels"))
        _bars(axes.bar(at + 0.21, class_shares, width=0.4, color=ORANGE, label="of the classes"), "class-bar")
        axes.xaxis.set_major_locator(_ticks(9))
        axes.set_xlim(-0.6, len(at) - 0.4)
        axes.yaxis.set_major_locator(_ticks(6, integer=False))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        axes.set_xlabel("depth of the class (edges to its root)")
        axes.set_ylabel("share")
        axes.grid(axis="y")
        axes.legend(**_LEGEND_ABOVE)
        alt = (
            f"Labels by depth of their class, 0 to {len(at) - 1}: most labels ({label_shares.max():.0%}) are at depth "
            f"{label_shares.argmax()}, most classes ({class_shares.max():.0%}) at depth {class_shares.argmax()}."
        )
        return inline(figure, "labels-by-depth", "Labels by depth of the hierarchy", alt)


def origins_by_depth(labels: Sequence[Mapping[str, int]]) -> Figure:
    """Labels by what put them there, stacked, by depth from 0; `labels` has one of ORIGINS -> labels a depth."""
    found = [origin for origin in ORIGINS if any(here[origin] for here in labels)]
    series = {_ORIGIN_WORDS[origin]: np.array([here[origin] for here in labels]) for origin in found}
    total = sum(int(counts.sum()) for counts in series.values())
    said = ", ".join(f"{name} {int(counts.sum()):,}" for name, counts in series.items())
    alt = f"{total:,} labels by what put them there and by the depth of their class: {said}."
    colours = [_ORIGIN_COLOURS[origin] for origin in found]
    return _stacked("origins-by-depth", "Labels by what put them there", alt, series, colours, "labels")


def classes_by_depth(classes: Sequence[tuple[int, int, int]]) -> Figure:
    """Classes by their number of images, stacked, by depth from 0; (trainable, with images, all) of each depth."""
    trainable, some, everything = np.array(classes).T
    series = {
        f"more than {TRAINABLE_ABOVE} images": trainable,
        f"1 to {TRAINABLE_ABOVE} images": some - trainable,
        "no image": everything - some,
    }
    said = ", ".join(f"{int(counts.sum()):,} with {name}" for name, counts in series.items())
    alt = f"{int(everything.sum()):,} classes by depth, to {len(classes) - 1}: {said}."
    return _stacked("classes-by-depth", "Classes by their number of images", alt, series, [BLUE, SKY, GREY], "classes")


def _stacked(
    name: str, title: str, alt: str, series: Mapping[str, np.ndarray], colours: Sequence[str], unit: str
) -> Figure:
    """Bars of each depth on top of each other, one colour a series."""
    depth = np.arange(len(next(iter(series.values()))))
    below = np.zeros(len(depth))
    rows = -(-sum(bool(counts.any()) for counts in series.values()) // _LEGEND_COLUMNS)
    with chart(rows) as (figure, axes):
        for number, (label, counts) in enumerate(series.items()):
            if not counts.any():
                continue  # nor is it in the legend
            bars = axes.bar(depth, counts, bottom=below, width=0.78, color=colours[number], label=label)
            _bars(bars, f"bar{number}")
            below = below + counts
        axes.xaxis.set_major_locator(_ticks(9))
        axes.set_xlim(-0.6, len(depth) - 0.4)
        axes.set_ylim(0, max(below.max(), 1) * 1.05)
        axes.yaxis.set_major_locator(_ticks(6))
        axes.yaxis.set_major_formatter(_THOUSANDS)
        axes.set_xlabel("depth of the class (edges to its root)")
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        axes.legend(**_LEGEND_ABOVE)
        return inline(figure, name, title, alt)


def outcomes(counts: Mapping[str, int]) -> Figure:
    """Rows of the images table by outcome, ok first, then the most frequent; at least one row."""
    found = by_weight(counts)
    colours = [BLUE if name == "ok" else ORANGE if BY_NAME[name].retryable else GREY for name in found]
    total = sum(counts.values())
    with canvas(height_in=max(HEIGHT_IN, 0.9 + 0.24 * len(found))) as figure:
        axes = figure.add_subplot()
        numbers = [counts[name] for name in found]
        bars = axes.barh(np.arange(len(found)), numbers, height=0.68, color=colours)
        _bars(bars)
        axes.bar_label(bars, [f"{n:,}" for n in numbers], padding=4)
        axes.set_yticks(np.arange(len(found)), found)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, max(numbers) * 1.18)  # room for the longest number beside its bar
        axes.xaxis.set_major_locator(_ticks(5))
        axes.xaxis.set_major_formatter(_THOUSANDS)
        axes.set_xlabel("distinct keys")
        axes.grid(axis="x")
        words = {BLUE: "verified image", ORANGE: "lost, worth another try", GREY: "lost"}
        axes.legend(handles=[Patch(color=c, label=w) for c, w in words.items() if c in colours], **_LEGEND_ABOVE)
        alt = f"Outcomes of {total:,} keys: " + ", ".join(f"{name} {counts[name]:,}" for name in found) + "."
        return inline(figure, "outcomes", "What happened to each key", alt)


def splits(rows_per_split: Mapping[str, int]) -> Figure:
    """Rows of the data set by split."""
    names = list(rows_per_split)
    numbers = [rows_per_split[name] for name in names]
    total = sum(numbers)
    with canvas(height_in=1.9) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(np.arange(len(names)), numbers, height=0.62, color=BLUE)
        _bars(bars)
        axes.bar_label(bars, [f"{n:,} ({100 * n / total:.1f} %)" if total else "0" for n in numbers], padding=4)
        axes.set_yticks(np.arange(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, max(*numbers, 1) * 1.3)
        axes.xaxis.set_major_locator(_ticks(5))
        axes.xaxis.set_major_formatter(_THOUSANDS)
        axes.set_xlabel("rows")
        axes.grid(axis="x")
        alt = "Rows per split: " + ", ".join(f"{name} {n:,}" for name, n in rows_per_split.items()) + "."
        return inline(figure, "splits", "Rows per split", alt)


def training(points: Sequence[TrainingPoint], prior_map: float | None) -> Figure:
    """Loss and validation mAP over steps; values that are missing or not finite are left out."""
    losses = _series([(point.step, point.loss) for point in points])
    maps = _series([(point.step, point.val_map) for point in points])
    with canvas(height_in=4.2) as figure:
        upper, lower = figure.subplots(2, sharex=True)
        upper.plot(*losses, color=BLUE, linewidth=1.6, gid="loss")
        upper.set_ylabel("training loss")
        lower.plot(*maps, color=BLUE, linewidth=1.6, marker="o", markersize=4, gid="val-map")
        if prior_map is not None:
            lower.axhline(prior_map, **_MARK, label=f"prior {prior_map:.3f}")
            lower.legend(loc="best", labelcolor=INK)
        lower.set_ylabel("validation mAP")
        lower.set_ylim(bottom=0)
        lower.set_xlabel("step")
        lower.xaxis.set_major_locator(_ticks(7))
        lower.xaxis.set_major_formatter(_THOUSANDS)
        for axes in (upper, lower):
            axes.yaxis.set_major_locator(_ticks(5, integer=False))
            axes.grid()
        figure.align_ylabels()
        said = [f"{len(points):,} points up to step {points[-1].step:,}"]
        if len(losses[1]):
            said.append(f"training loss from {losses[1][0]:.4g} to {losses[1][-1]:.4g}")
        if len(maps[1]):
            said.append(f"validation mAP at best {maps[1].max():.3f}")
        if prior_map is not None:
            said.append(f"prior {prior_map:.3f}")
        return inline(figure, "training", "Training", "Training curve: " + "; ".join(said) + ".")


def _series(pairs: Sequence[tuple[int, float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the pairs that have a finite value."""
    kept = [(step, value) for step, value in pairs if value is not None and np.isfinite(value)]
    table = np.array(kept, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _bars(bars: Sequence[Patch], name: str = "bar") -> None:
    """Give each bar an id, so that a reader of the SVG (a test, a style sheet) finds it."""
    for i, bar in enumerate(bars):
        bar.set_gid(f"{name}-{i}")


def _ticks(at_most: int, integer: bool = True) -> MaxNLocator:
    return MaxNLocator(integer=integer, nbins=at_most, steps=[1, 2, 5, 10])


def _short(value: float) -> str:
    """12,000 and 0.5 as they are, 250 k and 1.5 M shortened: tick labels must fit beside each other."""
    for at_least, unit, letter in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e5, 1e3, " k")):
        if abs(value) >= at_least:
            return f"{value / unit:,g}{letter}"
    return f"{value:,g}"
