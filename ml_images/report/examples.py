"""What a contact sheet is made of; executors gather it, which have no library to draw pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = [
    "key",
    "outcome",
    "url",
    "final_url",
    "status",
    "attempts",
    "content_type",
    "width",
    "height",
    "data",
    "detail",
]


@dataclass(frozen=True)
class HostOutcomes:
    """One host's rows by outcome."""

    host: str
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())

    @property
    def lost(self) -> int:
        return self.rows - self.counts.get("ok", 0)

    @property
    def commonest_loss(self) -> str:
        losses = {name: count for name, count in self.counts.items() if name != "ok"}
        return max(losses, key=lambda name: (losses[name], name), default="")


@dataclass(frozen=True)
class SheetContents:
    """What a table of images has to show: all its rows by outcome, the hosts that lost most, and some rows with
    COLUMNS, those that are ok with a `thumbnail` (a JPEG)."""

    outcomes: Mapping[str, int]
    hosts: Sequence[HostOutcomes]
    examples: Sequence[Mapping[str, Any]]
