"""The report of a benchmark: goals and tables, as Markdown for people and JSON for later comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench import Result
from measurements import Section

_METHOD = """Every engine runs as a whole process of its own on the same cores, in turns (rounds: {repeats}; times are
those of the fastest run, as other tenants of a machine only add to them, memory is the highest), from a cached list to
Parquet with zstd level 1. seconds = start + work + the end of the process. Start: the interpreter, imports and, for
Spark, the session (for ours with its Python workers, what these import and the machine code of their loops); goals
compare work, both ratios are shown.
A ratio is that engine's time over the time of the first line. Memory: the resident sizes of all processes added up
(every 0.2 s), and the high-water marks of the largest process and of the largest Python worker of Spark. Engines keep
their default memory limits (DuckDB: 80 % of the machine's; Spark: a JVM of 1 GB; the others: none). Where engines do
the same work, their outputs were compared after every run: they are equal. Compiled loops of ours come from the cache
of an earlier run, but for the first run after a change of the code."""

_HEAD = (
    "engine",
    "seconds",
    "start",
    "work",
    "rows/s of work",
    "CPU s",
    "all processes, MiB",
    "largest process, MiB",
    "largest Python worker, MiB",
    "written, MiB",
    "work ratio",
    "whole ratio",
)


def to_markdown(
    sections: Sequence[Section], rows: int, repeats: int, sizes: Mapping[str, int], machine: Mapping[str, str], day: str
) -> str:
    """The whole report; `sizes` are the bytes of the lists by name."""
    lists = ", ".join(f"{name} {size / (1 << 20):,.0f} MiB" for name, size in sizes.items())
    parts = [f"# Annotations, {day}", f"{rows:,} rows ({lists}).", _METHOD.format(repeats=repeats)]
    parts.append("\n".join(f"- {name}: {value}" for name, value in machine.items()))
    goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for section in sections for goal in section.goals]
    parts += ["## Goals", _table(("goal", "found", "met"), goals)]
    for section in sections:
        parts += [f"## {section.title}", section.note]
        parts.append(_table(_HEAD, [_row(result, section.results[0]) for result in section.results]))
    return "\n\n".join(parts) + "\n"


def to_json(
    sections: Sequence[Section], rows: int, sizes: Mapping[str, int], machine: Mapping[str, str], day: str
) -> dict[str, Any]:
    """All single runs."""
    return {"day": day, "rows": rows, "lists": sizes, "machine": machine, "sections": list(map(asdict, sections))}


def _row(result: Result, first: Result) -> tuple[str, ...]:
    if not result.runs:
        return (result.engine, f"failed: {result.failure}", *[""] * (len(_HEAD) - 2))

    def most(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}"

    def peak(name: str) -> str:
        return most(max(getattr(run.measured, name) for run in result.runs))

    return (
        result.engine,
        f"{result.whole_s:.1f}",
        f"{result.fastest.start_s:.1f}",
        f"{result.work_s:.1f}",
        f"{result.rows / result.work_s:,.0f}",
        f"{result.fastest.measured.cpu_s:.1f}",
        peak("peak_tree_mib"),
        peak("peak_process_mib"),
        most(result.peak_worker_mib),
        most(result.runs[0].written_mib),
        f"{result.work_s / first.work_s:.2f}",
        f"{result.whole_s / first.whole_s:.2f}",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
