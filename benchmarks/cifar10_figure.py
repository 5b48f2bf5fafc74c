"""The curves of the CIFAR-10 runs as one picture: what each says about the same closed validation labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_images.report.svg import BLUE, ORANGE, canvas

_PANELS = (
    ("macro mAP", lambda said: said["mean_average_precision"]),
    ("mAP over all cells", lambda said: said["micro_average_precision"]),
    ("top-1 among leaves", lambda said: said["single_label"]["top_1"]),
)
_COLOURS = BLUE, ORANGE


def curve(history: Sequence[Mapping[str, Any]], panel: int) -> tuple[list[int], list[float]]:
    """(epochs, values) of a run's history.jsonl where it was evaluated."""
    _, value_of = _PANELS[panel]
    points = [(one["epoch"], value_of(one["validation"]["report"])) for one in history if "validation" in one]
    return [epoch for epoch, _ in points], [value for _, value in points]


def draw(histories: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """A PNG with a panel for each number and a line for each run."""
    with canvas() as figure:
        figure.set_size_inches(9, 2.9)
        for panel, axes in enumerate(figure.subplots(1, len(_PANELS))):
            for (name, history), colour in zip(histories.items(), _COLOURS, strict=False):
                axes.plot(*curve(history, panel), color=colour, marker="o", markersize=3, linewidth=1.6, label=name)
            axes.set_title(_PANELS[panel][0], fontsize=9)
            axes.set_xlabel("epoch")
            axes.grid()
        figure.axes[0].legend(loc="lower right")
        figure.savefig(path, dpi=150, metadata={"Software": None})
