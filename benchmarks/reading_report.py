"""The readers' benchmark as a report: goals and tables, as Markdown for people and JSON for later comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from reading import ARROW, PETASTORM, Measurement, Result, ratio_of_rounds

_METHOD = """Every engine runs as a whole process of its own on the same two cores, in turns (rounds: {repeats}; times
are those of the fastest run, as other tenants of a machine only add to them, memory is the highest), over the same JPEG
bytes, which are in the page cache: {photos} photos at short side 384, quality 90, repeated under other keys. Rate:
rows per second between the first batch and the last. First: from opening the reader to the first batch, without the
imports before it (start). CPU: of all processes, without start. Memory: highest sum over all processes, what they share
counted once (PSS; of files the most that any of them has; every 0.5 s); in brackets the sum of resident sizes, which
counts it in each. Lost and twice: rows that were not delivered, or more than once.
Compiled loops of ours come from the cache of a run that is not counted."""

_HEAD = (
    "engine",
    "rows/s",
    "first, s",
    "start, s",
    "epoch from opening, s",
    "CPU ms a row",
    "memory, MiB",
    "lost",
    "twice",
    "mean pixel",
    "times the first",
)
_CLOSEST = """Ours, the bare loop and the fastest peer once more, right after each other in more rounds: the goals are
about these. Ratios are medians over the rounds, as the speed of a host changes from one to the next."""
_HEAD_CLOSEST = ("engine", "rows/s in each round", "ours, arrow: times it", "ours, petastorm: times it")
_HEAD_PLAN = ("engine", "planning, s", "rows", "steps", "pieces", "row groups held", "largest process, MiB")


def to_markdown(
    measurements: Sequence[Measurement], photos: int, repeats: int, machine: Mapping[str, str], day: str
) -> str:
    parts = [f"# Readers, {day}", _METHOD.format(repeats=repeats, photos=photos)]
    parts.append("\n".join(f"- {name}: {value}" for name, value in machine.items()))
    goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for one in measurements for goal in one.goals]
    parts += ["## Goals", _table(("goal", "found", "met"), goals)]
    for one in measurements:
        if one.title == "planning":
            table = _table(_HEAD_PLAN, [_plan_row(result) for result in one.results])
        else:
            table = _table(_HEAD, [_row(result, one) for result in one.results])
        parts += [f"## {one.title.capitalize()}", one.note, table]
        if one.closest:
            parts += [_CLOSEST, _table(_HEAD_CLOSEST, [_closest_row(result, one.closest) for result in one.closest])]
    return "\n\n".join(parts) + "\n"


def to_json(measurements: Sequence[Measurement], machine: Mapping[str, str], day: str) -> dict[str, Any]:
    """All single runs."""
    return {"day": day, "machine": machine, "measurements": list(map(asdict, measurements))}


def _row(result: Result, one: Measurement) -> tuple[str, ...]:
    if not result.runs:
        return _failed(result, _HEAD)
    run, first = result.fastest, one.results[0]
    told, distinct = run.told, run.told.get("distinct")
    delivered = told["rows"]
    epochs = max(1, round(delivered / one.rows))
    resident = max(each.measured.peak_tree_mib for each in result.runs)
    return (
        result.engine,
        f"{result.steady:,.0f}" if result.steady else "",
        "" if distinct is None else f"{result.least('first_s'):.2f}",
        f"{result.least('start_s'):.2f}",
        f"{told['work_s']:.2f}",
        f"{(run.measured.cpu_s - told['start_cpu_s']) / delivered * 1000:.3f}",
        f"{result.peak_mib:,.0f} ({resident:,.0f})",
        "" if distinct is None else f"{one.rows - distinct:,}",
        "" if distinct is None else f"{delivered - distinct * epochs:,}",
        f"{told['mean']:.2f}" if "mean" in told else "",
        f"{result.steady / first.steady:.2f}" if first.runs and first.steady else "",
    )


def _closest_row(result: Result, closest: Sequence[Result]) -> tuple[str, ...]:
    rates = ", ".join(f"{run.told['steady']:,.0f}" for run in result.runs)
    ours = {each.engine: each for each in closest}
    ratios = []
    for name in (ARROW, PETASTORM):
        whole = name in ours and len(ours[name].runs) == len(result.runs)
        ratios.append(f"{ratio_of_rounds(ours[name], result):.2f}" if whole else "")
    return (result.engine, rates or result.failure, *ratios)


def _plan_row(result: Result) -> tuple[str, ...]:
    if not result.runs:
        return _failed(result, _HEAD_PLAN)
    told = result.runs[0].told
    return (
        result.engine,
        f"{result.least('work_s'):.2f}",
        *(f"{told[name]:,}" for name in ("rows", "steps", "pieces", "held")),
        f"{max(run.measured.peak_process_mib for run in result.runs):,.0f}",
    )


def _failed(result: Result, head: Sequence[str]) -> tuple[str, ...]:
    return (result.engine, f"failed: {result.failure}", *[""] * (len(head) - 2))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
