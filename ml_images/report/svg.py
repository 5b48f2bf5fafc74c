"""How a matplotlib figure becomes inline SVG: real text, ids of its own, no metadata, equal bytes for equal numbers."""

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

# Okabe and Ito (2008): told apart with every common colour blindness, and in grey by their lightness.
BLUE, ORANGE, VERMILLION, GREY = "#0072b2", "#e69f00", "#d55e00", "#8a8f98"
GREEN, SKY = "#009e73", "#56b4e9"
DARK_VERMILLION = "#a34700"  # for text: contrast 6 to 1 on white, where the line's own colour has 4
INK, FAINT = "#1f2430", "#d9dce3"

_STYLE: Any = {  # matplotlib's types want every key spelt as a literal
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "svg.hashsalt": "ml-images",
    "text.parse_math": False,  # a "$" in a name is one
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the layout is the same everywhere; the page picks its own
    "font.size": 9.0,  # points: 12 CSS pixels
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}

WIDTH_IN, HEIGHT_IN = 6.0, 3.3  # 576 x 317 CSS pixels


@dataclass(frozen=True)
class Figure:
    """A figure ready for the page: `svg` is safe markup, `alt` says in words what it shows."""

    name: str
    title: str
    alt: str
    svg: str


# Around the axes of a chart, inches: labels and numbers of both axes, of which "50,000" is the longest, and half of the
# last number below. They are as far in as matplotlib's constrained layout would put them, which takes as long to find
# that out as to draw the figure.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.82, 0.12, 0.05, 0.45
_LEGEND_ABOVE, _LEGEND_ROW = 0.04, 0.19


@contextmanager
def canvas(height_in: float = HEIGHT_IN) -> Iterator[Canvas]:
    """A blank figure; draw and call `inline` inside the block, where our style holds."""
    with style.context(["default", _STYLE]):  # not what a matplotlibrc of the user says
        yield Canvas(figsize=(WIDTH_IN, height_in), layout="constrained")


@contextmanager
def chart(legend_rows: int = 0) -> Iterator[tuple[Canvas, Axes]]:
    """A figure with axes for numbers, both of which have a label, and room for a legend above; otherwise as `canvas`.

    Charts on a page begin at the same place.
    """
    top = _TOP + (_LEGEND_ABOVE + _LEGEND_ROW * legend_rows if legend_rows else 0)
    size = (WIDTH_IN - _LEFT - _RIGHT, HEIGHT_IN - top - _BOTTOM)
    place = (_LEFT / WIDTH_IN, _BOTTOM / HEIGHT_IN, size[0] / WIDTH_IN, size[1] / HEIGHT_IN)
    with style.context(["default", _STYLE]):
        figure = Canvas(figsize=(WIDTH_IN, HEIGHT_IN))
        yield figure, figure.add_axes(place)


def inline(figure: Canvas, name: str, title: str, alt: str) -> Figure:
    """`figure` as an <svg> element whose ids start with `name`, so that several of them live in one page."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box, "matplotlib always writes a viewBox"
    width, height = round(WIDTH_IN * 96), round(figure.get_figheight() * 96)
    head = f'<svg {view_box[0]} width="{width}" height="{height}" role="img" aria-label="{html.escape(alt)}">'
    svg = head + svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href=", "href=")  # plain since SVG 2, and inline SVG declares no namespaces
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return Figure(name, title, alt, svg)
