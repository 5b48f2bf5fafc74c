"""What decided about the rows of each run, kept beside the table images: a later run with other options knows by it
which final rows may come out differently. They are made anew; pictures are not, whatever options they were made with.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from ml_images.download.keys import ENDED_AS
from ml_images.images.config import ImageConfig
from ml_images.images.decode import optional_formats
from ml_images.storage import tables
from ml_images.storage.paths import join

_FILE = "_options.json"


@dataclass(frozen=True)
class RunOptions:
    """`decisive`: by outcome, the options without which it might have been another one. `picture`: those of an ok one.
    All values are plain, as JSON has them. `archives`: the fingerprint of those that were read, empty for downloads."""

    job: str
    decisive: Mapping[str, Sequence[Any]]
    picture: Mapping[str, Any]
    archives: str = ""


def of_image(cfg: ImageConfig) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """`decisive` and `picture` as far as decoding goes."""
    decisive: dict[str, list[Any]] = {
        "too_many_pixels": [cfg.max_pixels],
        "too_small": [cfg.min_side],
        "decoder_died": [cfg.decode_timeout_s],
        "unsupported_format": optional_formats(),  # of the driver, as workers are to have the same libraries
    }
    return decisive, {"short_side": cfg.short_side, "quality": cfg.quality, "icc": cfg.icc}


def remember(location: str, run: int, options: RunOptions, runs: Iterable[int]) -> None:
    """Before the first row of `run` is staged; of those before, only `runs` still have rows."""
    known = _known(location)
    kept = {number: known[number] for number in runs if number in known}
    kept[run] = asdict(options)
    tables.write_json(join(location, _FILE), {str(number): kept[number] for number in sorted(kept)})


def is_decided_anew(location: str, options: RunOptions, outcome: Column, detail: Column, run: Column) -> Column:
    """Does the outcome of a row of `run`, or that of a URL of which its `detail` tells (download.keys), depend on an
    option that was another then? Runs that nobody remembers, and those of other jobs, had the same."""
    runs = defaultdict(list)
    for number, then in _known(location).items():
        if then["job"] == options.job:
            changed = [name for name, now in options.decisive.items() if then["decisive"].get(name, now) != list(now)]
            runs[tuple(changed)].append(number)
    found = F.lit(False)
    for names, numbers in runs.items():
        if names:
            of_a_url = detail.rlike(f"{ENDED_AS}(?:{'|'.join(names)})\\b") & (outcome != "ok")
            found |= (outcome.isin(list(names)) | F.coalesce(of_a_url, F.lit(False))) & run.isin(numbers)
    return found


def runs_of(location: str, job: str, archives: str = "") -> list[int]:
    """The runs of a job, all or those that read these archives."""
    return [
        number
        for number, then in _known(location).items()
        if then["job"] == job and (not archives or then["archives"] == archives)
    ]


def other_pictures(location: str, options: RunOptions) -> str:
    """The options that pictures of an earlier run were made with, where they are not those of `options`; else empty."""
    for then in _known(location).values():
        if then["job"] == options.job and then["picture"] != dict(options.picture):
            return ", ".join(f"{name}={value}" for name, value in then["picture"].items())
    return ""


def _known(location: str) -> dict[int, dict[str, Any]]:
    content = tables.read_json(join(location, _FILE)) or {}
    return {int(number): then for number, then in content.items()}
