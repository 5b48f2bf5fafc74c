"""A table of images to look at, whichever jobs have filled it: pictures as stored, and examples of every failure."""

from collections import defaultdict
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from ml_images.outcomes import BY_NAME
from ml_images.provenance import provenance
from ml_images.report.examples import SheetContents
from ml_images.report.page import data_uri, grouped, percent, visible
from ml_images.storage.paths import join
from ml_images.storage.tables import write_text


def write_contact_sheet(output: str, contents: SheetContents) -> None:
    """`<output>/contact_sheet.html`, for the table images that lies there."""
    source = provenance()
    written = f"{source['written_at']}, commit {source['commit'] or 'unknown'}"
    write_text(join(output, "contact_sheet.html"), render_contact_sheet("What became of the images", contents, written))


def render_contact_sheet(title: str, contents: SheetContents, written: str) -> str:
    """One HTML page that needs nothing else."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": grouped, "percent": percent, "visible": visible}
    page = environment.from_string(files(__package__).joinpath("contact_sheet.html").read_text(encoding="utf-8"))
    by_outcome = defaultdict(list)
    for row in contents.examples:
        by_outcome[row["outcome"]].append(row)
    pictures = [{**row, "source": data_uri(row["thumbnail"])} for row in by_outcome["ok"] if row["thumbnail"]]
    total = sum(contents.outcomes.values())
    kinds = [
        {"name": name, "count": count, "share": count / total, "meaning": BY_NAME[name].meaning}
        | {"again": BY_NAME[name].retryable, "rows": by_outcome[name]}
        for name, count in sorted(contents.outcomes.items(), key=lambda item: (item[0] != "ok", -item[1], item[0]))
    ]
    return page.render(title=title, total=total, kinds=kinds, hosts=contents.hosts, pictures=pictures, written=written)
