"""Where the classes of a hierarchy are: the largest subtrees of each depth as bars."""

import numpy as np
import pyarrow as pa

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.report.radial_tree import depth_colours
from ml_images.report.svg import GREY, Figure, canvas, inline

# Below the ninth depth no subtree of ML-Images has more than 2 % of the classes, and 5 x 9 bars fill a screen.
MAX_DEPTHS, PER_DEPTH = 9, 5
MAX_NAME = 32
TITLE = "The largest subtrees of each depth"


def subtree_sizes(vocabulary: pa.Table) -> Figure:
    """Classes below the largest inner classes of each depth of `vocabulary` (schemas.VOCABULARY), from the roots down.

    A class below two others counts for both. Without an inner class it is a figure that says so.
    """
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    depths = vocabulary["depth"].to_numpy()
    below = np.bincount(find_ancestors(parents_of(vocabulary)).indices, minlength=len(names))
    listed = [_largest(np.flatnonzero((depths == depth) & (below > 0)), below) for depth in range(MAX_DEPTHS)]
    listed = [classes for classes in listed if len(classes)]
    if not listed:
        with canvas(height_in=0.7) as figure:
            figure.text(0.02, 0.5, "no class has classes below it", va="center")
            return inline(figure, "subtree-sizes", TITLE, "No class has classes below it.")
    shown = np.concatenate(listed)
    # Half a bar of room between depths.
    at = np.concatenate([[d * 0.6] * len(classes) for d, classes in enumerate(listed)]) + np.arange(len(shown))
    colours = depth_colours(int(depths.max()) + 1)
    with canvas(height_in=0.7 + 0.17 * (at[-1] + 1)) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(at, below[shown], height=0.8, color=[colours[depths[c]] for c in shown])
        for number, bar in enumerate(bars):
            bar.set_gid(f"bar-{number}")
        axes.bar_label(bars, [f"{below[c]:,}" for c in shown], padding=4)
        axes.set_yticks(at, [_short(names[c]) for c in shown])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(at[-1] + 0.7, -0.7)
        axes.set_xlim(0, below[shown].max() * 1.4)  # room for the longest bar's number and the depth
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("classes below")
        axes.grid(axis="x")
        for depth, classes in enumerate(listed):
            top = at[shown == classes[0]][0]
            axes.annotate(
                f"depth {depth}",
                (1, top),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                color=GREY,
            )
        widest = ", ".join(f"{names[classes[0]]} {below[classes[0]]:,}" for classes in listed)
        alt = f"The largest subtrees of each depth, classes below: {widest}."
        return inline(figure, "subtree-sizes", TITLE, alt)


def _largest(classes: np.ndarray, below: np.ndarray) -> np.ndarray:
    return classes[np.argsort(-below[classes], kind="stable")][:PER_DEPTH]


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
