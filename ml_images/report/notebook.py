"""How numbers and figures are shown in a notebook: figures as HTML that stands alone, nested numbers as one table."""

import html
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

from ml_images.report.svg import INK, Figure


def figures_html(*figures: Figure) -> str:
    """The figures below each other with title and words, on white whatever the notebook's theme is."""
    shown = [
        f'<figure style="margin:0 0 32px"><h3>{html.escape(figure.title)}</h3>{figure.svg}'
        f'<figcaption style="max-width:760px;font-size:13px">{html.escape(figure.alt)}</figcaption></figure>'
        for figure in figures
    ]
    style = f"background:#fff;color:{INK};padding:8px 16px;font-family:sans-serif;overflow-x:auto"
    return f'<div style="{style}">{"".join(shown)}</div>'


def numbers_table(numbers: Mapping[str, Any], without: Collection[str] = ()) -> pa.Table:
    """Nested counts and summaries as rows (number, value), the keys on the way down in `number`; text, as one reads it.

    {"tags": {"mean": 8.5}} becomes the row ("tags: mean", "8.5"). Dicts in a list are numbered from 1, any other list
    stays one value; keys of the top in `without` are left out.
    """
    rows = list(_rows({key: value for key, value in numbers.items() if key not in without}, ()))
    return pa.table({"number": [name for name, _ in rows], "value": [value for _, value in rows]})


def _rows(numbers: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in numbers.items():
        way = (*above, str(key).replace("_", " "))
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = dict(enumerate(value, 1))
        if isinstance(value, Mapping):
            yield from _rows(value, way)
        else:
            yield ": ".join(way), _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
