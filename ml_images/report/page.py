"""The report as one HTML page that needs nothing else: no script, no request, every text from outside escaped."""

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ml_images.report.contents import Report
from ml_images.report.figures import figures

# A vocabulary without a hierarchy has as many roots as classes.
MAX_ROOTS = 10


def render(report: Report, numbers: Mapping[str, Any]) -> str:
    """The page of a report and its `report_json`; equal reports give equal text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": grouped, "decimal": decimal, "percent": percent, "visible": visible}
    environment.filters |= {"number": number, "whole": whole}
    page = environment.from_string(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    drawn = {figure.name: figure for figure in figures(report)}
    return page.render(
        numbers=numbers,
        max_roots=MAX_ROOTS,
        tiles=tiles(numbers),
        figures=drawn,
        inline={name: Markup(figure.svg) for name, figure in drawn.items()},  # escaped by matplotlib
        thumbnails=[
            {"key": thumbnail.key, "labels": thumbnail.labels, "source": data_uri(thumbnail.jpeg)}
            for thumbnail in report.thumbnails
        ],
        configuration=None if report.configuration is None else json.dumps(report.configuration, indent=2),
    )


def tiles(numbers: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures at the top of the page, out of `report_json`: name, number, and what it is a share of."""
    made = []

    def tile(name: str, number: str, note: str = "", kind: str = "plain") -> None:
        made.append({"name": name, "number": number, "note": note, "kind": kind})

    labels, classes = numbers["labels"], numbers["labels"]["classes"]
    if "lines" in numbers:
        lines = numbers["lines"]
        tile("Lines read", grouped(lines["read"]))
        merged = f", {grouped(lines['merged'])} merged" if lines["merged"] else ""
        accepted = percent_of(lines["accepted"], lines["read"], "lines") + merged
        tile("Accepted", grouped(lines["accepted"]), accepted, "good")
        tile(
            "Rejected",
            grouped(lines["rejected"]),
            percent_of(lines["rejected"], lines["read"], "lines"),
            "bad" if lines["rejected"] else "plain",
        )
    mean = labels["tags_per_image"]["over_rows"]["mean"]
    tile("Rows of labels", grouped(labels["rows"]), f"{decimal(mean)} tags per image")
    if "images" in numbers:
        images = numbers["images"]
        tile("Images verified", grouped(images["ok"]), percent_of(images["ok"], images["keys"], "keys"), "good")
        tile(
            "Images lost",
            grouped(images["lost"]),
            percent_of(images["lost"], images["keys"], "keys"),
            "bad" if images["lost"] else "plain",
        )
    if "dataset" in numbers:
        dataset = numbers["dataset"]
        splits = " · ".join(f"{name} {grouped(rows)}" for name, rows in dataset["rows_per_split"].items())
        tile("Data set rows", grouped(dataset["rows"]), splits)
    tile("Classes", grouped(classes["all"]), f"{grouped(classes['more_than_100_images'])} with more than 100 images")
    without = classes["without_images"]
    tile("Classes without images", grouped(without), percent_of(without, classes["all"], "classes"))
    hierarchy = numbers["hierarchy"]
    tile(
        "Longest way to a root",
        f"{hierarchy['longest_path']} edges",
        f"mean {decimal(hierarchy['mean_depth_of_all'])} over all classes",
    )
    if numbers.get("training", {}).get("best_val_map") is not None:
        training = numbers["training"]
        prior = training["prior_val_map"]
        note = f"at step {grouped(training['best_val_map_step'])}"
        if prior:
            note = f"prior {decimal(prior)}, {training['best_val_map'] / prior:.1f} times that"
        tile("Best validation mAP", decimal(training["best_val_map"]), note, "good")
    return made


def data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def grouped(number: int | None) -> str:
    """12345 -> 12,345; a dash where there is no number."""
    return "–" if number is None else f"{number:,}"


def number(value: float | None) -> str:
    """A count with its thousands apart, a mean with decimals."""
    return grouped(value) if value is None or isinstance(value, int) else decimal(value)


def whole(number: float | None) -> str:
    """A median to the nearest whole number."""
    return grouped(None if number is None else round(number))


def decimal(number: float | None) -> str:
    """0.41278 -> 0.413, 8.7781 -> 8.78 and 13843.8 -> 13,843.8; a dash where there is no number."""
    if number is None:
        return "–"
    if number == 0:
        return "0"
    digits = 3 if abs(number) < 1 else 2 if abs(number) < 1000 else 1
    return f"{number:,.{digits}f}"


def percent(share: float | None) -> str:
    """0.1234 -> 12.3 %; what is neither nothing nor all never reads 0 % or 100 %."""
    if share is None:
        return "–"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def percent_of(part: int, whole: int, name: str) -> str:
    return f"{percent(part / whole if whole else None)} of {name}"


def visible(text: str) -> str:
    """`text` with what cannot be seen (control and direction characters, lone surrogates) written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
