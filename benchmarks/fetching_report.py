"""The download benchmark's report: goals and tables, as Markdown for people and JSON for later comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench import Result
from fetching import FEW, Measurement

_METHOD = """Every engine runs as a whole process of its own on the same cores, in turns (rounds: {repeats}; times are
those of the fastest run, as other tenants of a machine only add to them, memory is the highest), and fetches from
{server} on the same machine, whose own CPU time is not counted but takes from both. Work: from the moment when nothing
but it is left to the written table; goals compare it. CPU: of all processes of the engine; "work" is without what a run
over {few} URLs takes, so without starting an interpreter or Spark. Both sides hash with sha256, look at X-Robots-Tag
and write Parquet; ours also makes a perceptual hash, obeys robots.txt, turns pictures upright and writes a report. The
loop only decodes, resizes and encodes. Over TLS both trust the authorities of the system and the one of the server.
Memory: resident sizes added up (every 0.2 s), and the largest process."""

_HEAD = (
    "engine",
    "images/s",
    "work, s",
    "whole, s",
    "CPU ms an image",
    "of it work",
    "all processes, MiB",
    "largest process, MiB",
    "largest Python worker, MiB",
    "times the first",
)


def to_markdown(
    measurements: Sequence[Measurement], server: str, repeats: int, machine: Mapping[str, str], day: str
) -> str:
    parts = [f"# Downloading, {day}", _METHOD.format(repeats=repeats, server=server, few=FEW)]
    parts.append("\n".join(f"- {name}: {value}" for name, value in machine.items()))
    goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for one in measurements for goal in one.goals]
    parts += ["## Goals", _table(("goal", "found", "met"), goals)]
    for one in measurements:
        parts += [f"## {one.title}", one.note, _table(_HEAD, [_row(result, one) for result in one.results])]
        if one.likeness:
            parts.append(
                f"Outputs: the same {one.likeness.rows:,} keys, all ok, the same sizes; PSNR between the two sides \
{one.likeness.median:.1f} dB (median), {one.likeness.worst:.1f} dB (worst of those looked at)."
            )
        if one.stages:
            parts.append(_shares(one.stages, one.results[0].rows))
    return "\n\n".join(parts) + "\n"


def to_json(measurements: Sequence[Measurement], server: str, machine: Mapping[str, str], day: str) -> dict[str, Any]:
    """All single runs."""
    return {"day": day, "server": server, "machine": machine, "measurements": list(map(asdict, measurements))}


def _shares(stages: Mapping[str, int], rows: int) -> str:
    """`stages`: CPU milliseconds over all `rows`."""
    total = sum(stages.values())
    told = ", ".join(f"{name} {spent / rows:.3f} ({spent / total:.1%})" for name, spent in stages.items())
    return f"CPU ms an image of our workers and their decoders, without the JVM: {told}; together {total / rows:.3f}."


def _row(result: Result, one: Measurement) -> tuple[str, ...]:
    if not result.runs:
        return (result.engine, f"failed: {result.failure}", *[""] * (len(_HEAD) - 2))
    cpu_s = result.fastest.measured.cpu_s
    started = one.starting_cpu_s.get(result.engine)
    work = "" if started is None else f"{(cpu_s - started) / (result.rows - FEW) * 1000:.2f}"
    worker = result.peak_worker_mib
    first = one.results[0]
    return (
        result.engine,
        f"{result.rows / result.work_s:,.0f}",
        f"{result.work_s:.1f}",
        f"{result.whole_s:.1f}",
        f"{cpu_s / result.rows * 1000:.2f}",
        work,
        f"{max(run.measured.peak_tree_mib for run in result.runs):,.0f}",
        f"{max(run.measured.peak_process_mib for run in result.runs):,.0f}",
        "" if worker is None else f"{worker:,.0f}",
        f"{result.work_s / first.work_s:.2f}" if first.runs else "",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
