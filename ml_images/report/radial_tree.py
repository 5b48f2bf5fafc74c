"""The radial tree of a vocabulary as one small SVG, also for ten thousand classes: an edge is 30 bytes, not an element.

What keeps it readable: depth is radius and colour; only branching points and whole sections are named, a section just
outside its deepest class; every inner class tells its name and size to a resting pointer.
"""

import html
from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.colors import to_hex

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.report.radial_layout import Floats, RadialLayout, lay_out, on_circle
from ml_images.report.svg import FAINT, GREY, INK, VERMILLION, Figure

SIZE, RIM = 1100, 440  # CSS pixels: the square, and the radius of the deepest classes

# A subtree is named when its share of the circle has room for a line: 1.2 % of it is 20 pixels half way to the rim.
MIN_SHARE = 0.012
MAX_NAME = 18  # characters of a name before it is cut: what fits between the rim and the border

_CHARACTER, _LINE = 7.2, 12.0  # pixels that a letter of a bold name and a line take at most

_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


def radial_tree(vocabulary: pa.Table, marked: Sequence[int] = ()) -> Figure:
    """The hierarchy of `vocabulary` (schemas.VOCABULARY), with the classes `marked` as red dots on top.

    Formulas: angle = position * 360 + 270 degrees, radius = the depth's share of the rim under a square root, so that
    rings have equal areas. Edges beyond the first parent are dashed.
    """
    parents = parents_of(vocabulary)
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    depths = vocabulary["depth"].to_numpy()
    layout = lay_out(parents)
    below = np.bincount(find_ancestors(parents).indices, minlength=len(names))
    radius = RIM * np.sqrt((depths + 1) / (depths.max() + 1))  # + 1: several roots do not fall on one point
    colours = depth_colours(int(depths.max()) + 1)
    parts = [
        *_edges(layout, depths, radius, below, colours),
        *_dropped(layout, radius),
        *_dots(layout, radius, depths, names, below, colours),
        *_marks(layout, radius, names, marked),
        *_sections(layout, radius, names, below),
        *_inner_names(layout, radius, names, below),
        *_legend(np.bincount(depths), colours, len(marked), len(layout.dropped)),
    ]
    roots = int((layout.parents < 0).sum())
    leaves = int((below == 0).sum())
    alt = (
        f"Radial tree of {len(names):,} classes: {roots:,} roots, {leaves:,} leaves, {len(layout.dropped):,} edges "
        f"beyond the first parent, greatest depth {depths.max()}, mean depth {depths.mean():.2f}."
    )
    if len(marked):
        alt += f" {len(marked):,} classes are marked."
    head = (
        f'<svg viewBox="{-SIZE // 2} {-SIZE // 2} {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}" role="img" '
        f'aria-label="{html.escape(alt)}" {_FONT} font-size="11" fill="{INK}">'
    )
    return Figure("radial-tree", "The hierarchy", alt, "\n".join([head, *parts, "</svg>"]))


def depth_colours(num_depths: int) -> list[str]:
    """A colour for each depth, dark to light, all of them visible on white."""
    return [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 0.88, num_depths))]


def sections(layout: RadialLayout, min_share: float = MIN_SHARE) -> list[int]:
    """The smallest subtrees whose share of the circle reaches `min_share`, in the order of the circle; none overlap."""
    large = layout.end - layout.start >= min_share
    has_large_child = np.zeros(len(large), bool)
    has_large_child[layout.parents[large & (layout.parents >= 0)]] = True
    return [int(c) for c in layout.order if large[c] and not has_large_child[c]]


def _edges(
    layout: RadialLayout,
    depths: npt.NDArray[np.int32],
    radius: Floats,
    below: npt.NDArray[np.int64],
    colours: list[str],
) -> list[str]:
    """Curves that leave and arrive along the radius: for each depth, the deepest first, a path of the edges to leaves
    and a thicker one of the edges to inner classes."""
    drawn = ['<g transform="scale(.1)" fill="none" stroke-linecap="round" stroke-opacity=".7">']
    children = np.flatnonzero(layout.parents >= 0)
    curves = np.array(_curves(layout, radius, layout.parents[children], children), object)
    inner = below[children] > 0
    thin = np.clip(10_000 / max(1, (~inner).sum()), 5, 12)  # half a pixel among thousands of leaves
    for depth in range(len(colours) - 1, 0, -1):
        here = depths[children] == depth
        for which, width in ((here & ~inner, thin), (here & inner, 7 + 16 / depth)):
            if which.any():
                path = "".join(curves[which])
                drawn.append(f'<path stroke="{colours[depth]}" stroke-width="{width:.0f}" d="{path}"/>')
    return [*drawn, "</g>"]


def _dropped(layout: RadialLayout, radius: Floats) -> list[str]:
    if not len(layout.dropped):
        return []
    path = "".join(_curves(layout, radius, layout.dropped[:, 0], layout.dropped[:, 1]))
    style = f'fill="none" stroke="{VERMILLION}" stroke-width="9" stroke-dasharray="40 30" stroke-opacity=".8"'
    return [f'<g transform="scale(.1)"><path class="dropped" {style} d="{path}"/></g>']


def _curves(
    layout: RadialLayout, radius: Floats, above: npt.NDArray[np.intp], child: npt.NDArray[np.intp]
) -> list[str]:
    """Path data from each class of `above` to its `child`, in tenths of a pixel."""
    middle = (radius[above] + radius[child]) / 2
    x0, y0 = on_circle(layout.position[above], radius[above])
    points = [
        on_circle(layout.position[above], middle),
        on_circle(layout.position[child], middle),
        on_circle(layout.position[child], radius[child]),
    ]
    start = np.rint(10 * np.column_stack([x0, y0])).astype(int)
    moves = np.rint(10 * np.column_stack([axis for point in points for axis in point])).astype(int) - np.tile(start, 3)
    return [
        f"M{x} {y}c" + " ".join(map(str, move)) for (x, y), move in zip(start.tolist(), moves.tolist(), strict=True)
    ]


def _dots(
    layout: RadialLayout,
    radius: Floats,
    depths: npt.NDArray[np.int32],
    names: Sequence[str],
    below: npt.NDArray[np.int64],
    colours: list[str],
) -> list[str]:
    """Inner classes, as large as the logarithm of what is below them."""
    x, y = on_circle(layout.position, radius)
    return [
        f'<circle cx="{x[c]:.1f}" cy="{y[c]:.1f}" r="{0.8 + 0.5 * np.log10(below[c]):.1f}" fill="{colours[depths[c]]}">'
        f"<title>{html.escape(names[c])}: {below[c]:,} below</title></circle>"
        for c in np.flatnonzero(below).tolist()
    ]


def _marks(layout: RadialLayout, radius: Floats, names: Sequence[str], marked: Sequence[int]) -> list[str]:
    x, y = on_circle(layout.position, radius)
    return [
        f'<circle class="mark" cx="{x[c]:.1f}" cy="{y[c]:.1f}" r="3" fill="{VERMILLION}" stroke="#fff">'
        f"<title>{html.escape(names[c])}</title></circle>"
        for c in marked
    ]


def _sections(layout: RadialLayout, radius: Floats, names: Sequence[str], below: npt.NDArray[np.int64]) -> list[str]:
    """An arc and a name for each section; names on the left half are turned over."""
    drawn = []
    number = np.empty(len(names), int)  # place in the preorder, in which a subtree is one piece
    number[layout.order] = np.arange(len(names))
    radius_in_order, start_in_order = radius[layout.order], layout.start[layout.order]
    for c in sections(layout):
        inside = slice(number[c], np.searchsorted(start_in_order, layout.end[c], side="left"))
        at = radius_in_order[inside].max() + 8
        ends = np.array([layout.start[c], layout.end[c]])
        x, y = on_circle(ends, np.full(2, at))
        large = int(ends[1] - ends[0] > 0.5)
        drawn.append(
            f'<path d="M{x[0]:.1f} {y[0]:.1f}A{at:.1f} {at:.1f} 0 {large} 1 {x[1]:.1f} {y[1]:.1f}" fill="none" '
            f'stroke="{GREY}" stroke-width="2"/>'
        )
        degrees = (ends.mean() * 360 + 270) % 360
        left = 90 < degrees < 270
        text = html.escape(_short(names[c])) + (f' <tspan fill="{GREY}">{below[c]:,}</tspan>' if below[c] else "")
        place = f"rotate({degrees:.2f}) translate({at + 7:.1f})" + (" rotate(180)" if left else "")
        anchor = ' text-anchor="end"' if left else ""
        drawn.append(f'<text class="section" transform="{place}"{anchor} dy=".35em">{text}</text>')
    return drawn


def _inner_names(layout: RadialLayout, radius: Floats, names: Sequence[str], below: npt.NDArray[np.int64]) -> list[str]:
    """Large roots and branching points (at least two children with a section of their own below), the largest first.

    A name stands above its class, else below it, and is left out where another is in the way in both places.
    """
    large = layout.end - layout.start >= MIN_SHARE
    is_root = layout.parents < 0
    branches = np.bincount(layout.parents[large & ~is_root], minlength=len(names)) >= 2
    chosen = np.flatnonzero(branches | (large & is_root & (below > 0)))
    x, y = on_circle(layout.position, radius)
    drawn, taken = [], np.empty((0, 4))
    for c in chosen[np.argsort(-below[chosen], kind="stable")].tolist():
        name = _short(names[c])
        width = _CHARACTER * len(name)
        for shift in (-5.0, 14.0):
            box = np.array([x[c] - width / 2, y[c] + shift - _LINE, x[c] + width / 2, y[c] + shift])
            if not ((taken[:, :2] < box[2:]) & (box[:2] < taken[:, 2:])).all(axis=1).any():
                taken = np.vstack([taken, box])
                drawn.append(
                    f'<text class="inner" x="{x[c]:.1f}" y="{y[c] + shift:.1f}" text-anchor="middle" stroke="#fff" '
                    f'stroke-width="3" paint-order="stroke" font-weight="bold">{html.escape(name)}</text>'
                )
                break
    return drawn


def _legend(classes: npt.NDArray[np.int64], colours: list[str], marked: int, dropped: int) -> list[str]:
    left, bottom = -SIZE // 2 + 14, SIZE // 2 - 14
    drawn = []
    if dropped:
        line = f'fill="none" stroke="{VERMILLION}" stroke-dasharray="4 3"'
        drawn.append(f'<path d="M{left} {bottom - 4}h18" {line}/>')
        drawn.append(f'<text x="{left + 24}" y="{bottom}">other parents {dropped:,}</text>')
        bottom -= 16
    if marked:
        drawn.append(f'<circle class="mark" cx="{left + 9}" cy="{bottom - 4}" r="3" fill="{VERMILLION}"/>')
        drawn.append(f'<text x="{left + 24}" y="{bottom}">marked {marked:,}</text>')
        bottom -= 16
    top = bottom - 14 * len(classes)
    drawn.append(f'<text x="{left}" y="{top - 4}" font-weight="bold">depth, classes</text>')
    for depth, count in enumerate(classes.tolist()):
        y = top + 14 * depth
        drawn.append(f'<rect x="{left}" y="{y}" width="18" height="10" fill="{colours[depth]}" stroke="{FAINT}"/>')
        drawn.append(f'<text x="{left + 24}" y="{y + 9}">{depth}</text>')
        drawn.append(f'<text x="{left + 84}" y="{y + 9}" text-anchor="end">{count:,}</text>')
    return drawn


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
