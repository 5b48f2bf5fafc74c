"""Whether memory stays flat: the slope of every process's own line, whatever was killed and started in between."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from measurements import Goal
from soak_watch import Kill, Sample

KINDS = ("Python worker", "decoder", "executor")

_WARM_S = 45.0  # of a life: imports, buffers, the pictures that a task remembers
_LEAST_S = 60.0  # of lines after that, or there is nothing to say
_GROWTH = 0.10
_HEAP_MIB, _BESIDE_MIB = 600, 384  # of an executor's JVM: what it is given, and Spark's own least for what is beside


@dataclass(frozen=True)
class Growth:
    """Of all processes of a kind in the second half of the time, by one slope through all their lives."""

    mib_per_minute: float
    mean_mib: float
    seconds: float  # of lines


def growth(samples: Sequence[Sample], kind: str) -> Growth | None:
    """None where no process lived long enough. Least squares with an intercept for each process."""
    if not samples:
        return None
    middle = (samples[0].second + samples[-1].second) / 2
    seconds, sizes, lasting = list[float](), list[float](), 0.0
    for times, mib in lines(samples, kind):
        chosen = (times >= times[0] + _WARM_S) & (times >= middle)
        if chosen.sum() < 2:
            continue
        times, mib = times[chosen], mib[chosen]
        lasting += times[-1] - times[0]
        seconds.extend(times - times.mean())  # so that only what changes within a life counts
        sizes.extend(mib)
    if lasting < _LEAST_S:
        return None
    slope = float(np.dot(seconds, sizes) / np.dot(seconds, seconds))
    return Growth(60 * slope, float(np.mean(sizes)), lasting)


def lines(samples: Sequence[Sample], kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(seconds, MiB) of each process of a kind."""
    by_process = defaultdict[int, list[Sample]](list)
    for sample in samples:
        if sample.kind == kind:
            by_process[sample.process].append(sample)
    return [
        (np.array([one.second for one in life]), np.array([one.mib for one in life])) for life in by_process.values()
    ]


def check_memory(samples: Sequence[Sample], fetched: float) -> list[Goal]:
    """That Python workers and decoders do not grow until `fetched`, the second of the last request, and that a JVM
    keeps to what it was given. Publishing, which comes then, reads whole parts."""
    largest = max((sample.mib for sample in samples if sample.kind == "executor"), default=0.0)
    samples = [sample for sample in samples if sample.second <= fetched]
    goals = []
    half_min = (samples[-1].second - samples[0].second) / 120 if samples else 0.0
    for kind in ("Python worker", "decoder"):
        found = growth(samples, kind)
        if found is None:
            goals.append(Goal(f"a {kind}'s memory is flat", "no one lived long enough to say", True))
            continue
        grown = found.mib_per_minute * half_min
        told = (
            f"{found.mib_per_minute:+.2f} MiB a minute at {found.mean_mib:,.0f} MiB: {grown:+.1f} MiB in the second "
            f"half of {half_min:.1f} minutes ({found.seconds:,.0f} s of lines)"
        )
        what = f"a {kind}'s memory is flat (at most {_GROWTH:.0%} of it in the second half)"
        goals.append(Goal(what, told, grown <= _GROWTH * found.mean_mib))
    most = _HEAP_MIB + _BESIDE_MIB
    found = growth(samples, "executor")
    slope = f", {found.mib_per_minute:+.2f} MiB a minute" if found is not None else ""
    goals.append(
        Goal(
            f"an executor's JVM stays below {most} MiB ({_HEAP_MIB} of heap)",
            f"{largest:,.0f} MiB{slope}",
            largest <= most,
        )
    )
    return goals


def draw(samples: Sequence[Sample], kills: Sequence[Kill], file: Path) -> None:
    """The lines of all processes, one panel a kind; dashed where something was killed."""
    start = samples[0].second if samples else 0.0
    figure = Figure(figsize=(12, 9), layout="constrained")
    panels = figure.subplots(len(KINDS), 1, sharex=True)
    colours = {"Python worker": "C0", "decoder": "C1", "executor": "C2", "node": "C3", "driver": "k"}
    for panel, kind in zip(panels, KINDS, strict=True):
        for times, mib in lines(samples, kind):
            panel.plot((times - start) / 60, mib, linewidth=1)
        for kill in kills:
            panel.axvline((kill.second - start) / 60, color=colours[kill.kind], linestyle="--", linewidth=0.7)
        panel.set_ylim(bottom=0)
        panel.set_ylabel(f"{kind}, MiB resident")
        panel.grid(alpha=0.3)
    for name, colour in colours.items():
        panels[0].plot([], [], color=colour, linestyle="--", label=f"{name} killed")
    panels[0].legend(loc="lower right", ncols=len(colours), fontsize="small")
    panels[-1].set_xlabel("minutes")
    figure.savefig(file, dpi=80)


def write_samples(samples: Sequence[Sample], kills: Sequence[Kill], file: Path) -> None:
    """Tab-separated: second, kind, process, MiB; a kill has neither process nor MiB."""
    rows = [f"{one.second:.2f}\t{one.kind}\t{one.process}\t{one.mib:.1f}" for one in samples]
    rows += [f"{kill.second:.2f}\tkilled: {kill.kind}\t\t" for kill in kills]
    file.write_text("\n".join(["second\tkind\tprocess\tmib", *rows]) + "\n")
