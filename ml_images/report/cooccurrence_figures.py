"""The heat map of co-occurrence: which of the most frequent classes are on the same images, as shares of the row's.

Ancestors are on every image of their descendants, so the most frequent classes would say nothing but that. Shown are
the most frequent ones none of which is an ancestor of another, in the order of the hierarchy: relatives stand together.
"""

import html
from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.colors import to_hex

from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import Ancestors, find_ancestors
from ml_images.hierarchy.vocabulary import parents_of
from ml_images.report.radial_layout import lay_out
from ml_images.report.svg import FAINT, GREY, INK, Figure

NUM_CLASSES = 36
CELL, NAMES, TOP, LEGEND = 20, 190, 130, 640  # CSS pixels: a cell, the rooms of row and column names and the legend
MAX_NAME = 19

# Upper bounds of the shades; shares of co-occurrence spread over three orders of magnitude.
BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0)
_WRITTEN_FROM = 0.1  # shares from here on are written into their cell, in percent

_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"

Int64 = npt.NDArray[np.int64]


def heat_map(cooccurrence: pa.Table, vocabulary: pa.Table, num_classes: int = NUM_CLASSES) -> Figure:
    """n_ab / n_a of the chosen classes (row a, column b), from schemas.COOCCURRENCE and schemas.VOCABULARY.

    InputError where the table has no class at all, or one that the vocabulary lacks.
    """
    a, b, counts = (cooccurrence[name].to_numpy() for name in ("class_a", "class_b", "count"))
    if not len(a) or b.max() >= len(vocabulary):
        found = f"class {b.max()}" if len(a) else "no pair"
        raise InputError(f"cooccurrence table: {found}, expected classes 0 to {len(vocabulary) - 1} of the vocabulary")
    parents = parents_of(vocabulary)
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    images = np.zeros(len(vocabulary), np.int64)
    images[a[a == b]] = counts[a == b]
    chosen = choose(images, find_ancestors(parents), num_classes)
    order = lay_out(parents).order
    shown = order[np.isin(order, chosen)]
    together = _among(a, b, counts, shown, len(vocabulary))
    shares = together / np.diagonal(together)[:, None]
    return _draw(together, shares, [names[c] for c in shown])


def choose(images_per_class: Int64, ancestors: Ancestors, num_classes: int) -> list[int]:
    """The most frequent classes none of which is an ancestor of another: at most `num_classes`, all with images.

    Classes are taken by falling frequency and put out their ancestors, until there are enough.
    """
    chosen: dict[int, None] = {}
    put_out: set[int] = set()
    for c in np.argsort(-images_per_class, kind="stable").tolist():
        if len(chosen) == num_classes or images_per_class[c] == 0:
            break
        if c in put_out:  # as frequent as a descendant that came first
            continue
        above = ancestors.indices[ancestors.indptr[c] : ancestors.indptr[c + 1]].tolist()
        put_out.update(above)
        for ancestor in above:
            chosen.pop(ancestor, None)
        chosen[c] = None
    return list(chosen)


def _among(
    a: npt.NDArray[np.int32],
    b: npt.NDArray[np.int32],
    counts: Int64,
    shown: npt.NDArray[np.int32],
    num_classes: int,
) -> Int64:
    """The symmetric counts of the classes `shown`, int64 (shown, shown)."""
    place = np.full(num_classes, -1)
    place[shown] = np.arange(len(shown))
    inside = (place[a] >= 0) & (place[b] >= 0)
    rows, columns = place[a[inside]], place[b[inside]]
    together = np.zeros((len(shown), len(shown)), np.int64)
    together[rows, columns] = counts[inside]
    together[columns, rows] = counts[inside]
    return together


def _draw(together: Int64, shares: npt.NDArray[np.float64], names: Sequence[str]) -> Figure:
    n = len(names)
    side = n * CELL
    colours = [to_hex(colour) for colour in matplotlib.colormaps["YlGnBu"](np.linspace(0.12, 0.95, len(BOUNDS)))]
    images = np.diagonal(together)
    off = np.where(np.eye(n, dtype=bool), 0, shares)
    row, column = divmod(int(off.argmax()), n)
    alt = (
        f"Heat map of the {n:,} most frequent classes that are no ancestors of each other: the share of the row's "
        f"images that have the column's class, too."
    )
    if off.any():
        alt += f" The highest: {off[row, column]:.0%} of the images with {names[row]} have {names[column]}."
    width, height = NAMES + max(side + TOP // 2 + 10, LEGEND), TOP + side + 50
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{html.escape(alt)}" {_FONT} font-size="11" fill="{INK}">',
        f'<g transform="translate({NAMES} {TOP})">',
        f'<rect width="{side}" height="{side}" fill="#fff" stroke="{FAINT}"/>',
        *(_cells(together, shares, names, colours)),
    ]
    for i, name in enumerate(names):
        middle = i * CELL + CELL / 2
        text = html.escape(name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…")
        count = f'<tspan fill="{GREY}"> {_compact(int(images[i]))}</tspan>'
        parts.append(f'<text class="row" x="-6" y="{middle + 4:g}" text-anchor="end">{text}{count}</text>')
        parts.append(f'<text class="column" transform="translate({middle + 4:g} -6) rotate(-60)">{text}</text>')
    parts.append(f'<g transform="translate(0 {side + 14})">')
    parts.append(f'<text y="24" fill="{GREY}">share of the row\'s images:</text>')
    for i, (low, high, colour) in enumerate(zip((0.0, *BOUNDS), BOUNDS, colours, strict=False)):
        label = f"{100 * low:g}–{100 * high:g} %" if low else f"up to {100 * high:g} %"
        parts.append(f'<rect x="{160 + 94 * i}" y="14" width="14" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{178 + 94 * i}" y="24">{label}</text>')
    return Figure("co-occurrence", "Which classes occur together", alt, "\n".join([*parts, "</g>", "</g>", "</svg>"]))


def _cells(together: Int64, shares: npt.NDArray[np.float64], names: Sequence[str], colours: Sequence[str]) -> list[str]:
    """A square for each pair that occurs, which tells its numbers to a resting pointer."""
    shades = np.searchsorted(BOUNDS, shares, side="left").clip(max=len(colours) - 1)
    drawn = []
    for i, j in np.argwhere(together > 0).tolist():
        x, y = j * CELL, i * CELL
        if i == j:
            drawn.append(f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{FAINT}"/>')
            continue
        share = shares[i, j]
        said = f"{names[i]} with {names[j]}: {share:.1%} ({together[i, j]:,} of {together[i, i]:,})"
        drawn.append(
            f'<rect class="cell" x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{colours[shades[i, j]]}">'
            f"<title>{html.escape(said)}</title></rect>"
        )
        if share >= _WRITTEN_FROM:
            ink = "#fff" if shades[i, j] >= 3 else INK
            drawn.append(
                f'<text x="{x + CELL / 2:g}" y="{y + 13.5:g}" font-size="9" fill="{ink}" text-anchor="middle" '
                f'pointer-events="none">{100 * share:.0f}</text>'
            )
    return drawn


def _compact(number: int) -> str:
    """12345 -> 12k: a count in the room of a margin."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
