"""What came of the fetching, to look at: pictures as they are stored, and examples of every kind of failure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from ml_images.outcomes import BY_NAME
from ml_images.report.examples import HostOutcomes
from ml_images.report.page import data_uri, grouped, percent, visible


def render_contact_sheet(
    title: str,
    outcomes: Mapping[str, int],
    hosts: Sequence[HostOutcomes],
    examples: Sequence[Mapping[str, Any]],
    written: str,
) -> str:
    """One HTML page that needs nothing else. `outcomes`: rows of the table by name; `examples`: rows with COLUMNS, and
    those that are ok with a `thumbnail` (a JPEG)."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": grouped, "percent": percent, "visible": visible}
    page = environment.from_string(files(__package__).joinpath("contact_sheet.html").read_text(encoding="utf-8"))
    by_outcome = defaultdict(list)
    for row in examples:
        by_outcome[row["outcome"]].append(row)
    pictures = [{**row, "source": data_uri(row["thumbnail"])} for row in by_outcome["ok"] if row["thumbnail"]]
    total = sum(outcomes.values())
    kinds = [
        {"name": name, "count": count, "share": count / total, "meaning": BY_NAME[name].meaning}
        | {"again": BY_NAME[name].retryable, "rows": by_outcome[name]}
        for name, count in sorted(outcomes.items(), key=lambda item: (item[0] != "ok", -item[1], item[0]))
    ]
    return page.render(title=title, total=total, kinds=kinds, hosts=hosts, pictures=pictures, written=written)
