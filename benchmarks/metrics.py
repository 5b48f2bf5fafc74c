"""Our evaluation metrics beside scikit-learn: exact average precision of every class, the same scores, one run.

Scores and labels are made up (score_sets.py). scikit-learn gets some of the classes, and its time is multiplied up: its
cost is the same for each. Ours computes everything that `ml_images.train.metrics` says, not average precision alone. A
smaller evaluation with ties and unknown cells is compared number by number. The report goes to
benchmarks/results/metrics-DATE.md and .json.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from arguments import add_places, add_rounds
from bench import ENGINES, Failed
from compare import Different
from machine import describe_machine
from measure import Measured, measure
from measurements import Goal

FULL_IMAGES, FULL_CLASSES = 88_739, 11_166  # the validation split of ML-Images
MOST_S, MOST_MIB, LEAST_RATIO, WITHIN = 20.0, 2048, 20.0, 1e-9

_EXAMPLES = """examples:
  python benchmarks/metrics.py
  python benchmarks/metrics.py --images 8000 --repeats 1 --taken 20

Some minutes on two cores, and 4 GB in --folder (for scores that do not fit into memory). Exit code 1 when
outputs differ or an engine fails; a goal that is missed is told in the table."""

_METHOD = """{images:,} images, {classes:,} classes. Every engine runs as a whole process of its own on the same
cores, in turns (rounds: {repeats}; quoted is the fastest, memory is the highest). Seconds are those of
the metrics alone; making the scores is left out for all. Ours: `update` batch by batch and `result`, of
the slowest rank, with all it reports (average precision of each class and of all cells, means by
frequency and depth, precision and recall at k, coverage, calibration), from compiled loops that are in
the cache. Scores beyond 768 MiB of a process are in a scratch file, whose pages are not counted as its
memory. Memory includes what Python, torch and the imports take: {imports:,.0f} MiB. scikit-learn
{sklearn}: `average_precision_score(..., average=None)` of {taken} classes, one after the other in one
process, columns of int8 and float32 that lie as it reads them; times {classes:,} / {taken}. Its memory
is what it needs for these classes. Average precision was compared for the classes of both that have a
positive: largest difference {difference:.1e}; over the smaller evaluation, everything that both compute:
{small:.1e}."""


@dataclass
class Result:
    engine: str
    runs: list[tuple[dict[str, Any], Measured]] = field(default_factory=list)

    def least(self, name: str) -> float:
        return min(float(told[name]) for told, _ in self.runs)

    @property
    def process_mib(self) -> float:
        return max(measured.peak_process_mib for _, measured in self.runs)


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    if find_spec("sklearn") is None:
        print("metrics.py: scikit-learn is not installed: pip install scikit-learn", file=sys.stderr)
        return 1
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(args.cores)
    machine["metrics"] = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "scikit-learn"))
    size = (args.images, args.classes)
    commands: dict[str, list[object]] = {
        "ours, 2 processes": ["metrics_ours.py", *size, 2],
        "ours, 1 process": ["metrics_ours.py", *size, 1],
        "scikit-learn": ["metrics_sklearn.py", *size, args.taken],
    }
    try:
        results = {name: Result(name) for name in commands}
        difference = 0.0
        for _ in range(args.repeats):
            for name, command in commands.items():
                _run(results[name], command, folder, args.cores)
            for name in list(commands)[:-1]:
                difference = max(difference, _compare(_output(folder, name), _output(folder, "scikit-learn")))
        small = Result("small")
        _run(small, ["metrics_small.py"], folder, args.cores)
    except (Different, Failed) as error:
        print(f"metrics.py: {error}", file=sys.stderr)
        return 1
    differences = (difference, small.least("difference"))
    goals = _goals(results, args.classes, max(differences))
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    text = _to_markdown(results, goals, differences, args, machine, day)
    name = f"metrics-{day}" if size == (FULL_IMAGES, FULL_CLASSES) else f"metrics-{args.images}-{args.classes}-{day}"
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{name}.md").write_text(text)
    content = {"day": day, "images": args.images, "classes": args.classes, "machine": machine}
    content |= {"results": [asdict(result) for result in results.values()], "goals": list(map(asdict, goals))}
    (args.results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text)
    return 0


def _output(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "-")


def _run(result: Result, command: Sequence[object], folder: Path, cores: int) -> None:
    """One run, appended to `result`; its output stays. Raises Failed."""
    output = _output(folder, result.engine)
    shutil.rmtree(output, ignore_errors=True)
    script, *arguments = command
    log = folder / f"{output.name}.log"
    line = [sys.executable, str(ENGINES / str(script)), str(output), *map(str, arguments)]
    measured = measure(line, cores, folder, log)
    if measured.exit_code:
        raise Failed(f"{result.engine}: exit code {measured.exit_code}, see {log}")
    result.runs.append((json.loads(measured.last_line), measured))
    print(f"{result.engine}: {measured.last_line}", file=sys.stderr, flush=True)


def _compare(ours: Path, theirs: Path) -> float:
    """The largest difference; raises Different above WITHIN."""
    mine, other = np.load(ours / "classes.npz"), np.load(theirs / "classes.npz")
    if mine["positives"][other["chosen"]].tolist() != other["positives"].tolist():
        raise Different(f"{ours} and {theirs} have other positives")
    scored = other["positives"] > 0
    apart = np.abs(mine["average_precision"][other["chosen"]] - other["average_precision"])[scored]
    if not apart.max() <= WITHIN:
        raise Different(f"{ours} and {theirs}: average precision differs by {apart.max():.2e}")
    return float(apart.max())


def _extrapolated_s(result: Result, classes: int) -> float:
    """Seconds of scikit-learn for all classes."""
    return min(told["work_s"] / told["taken"] for told, _ in result.runs) * classes


def _goals(results: dict[str, Result], classes: int, difference: float) -> list[Goal]:
    ours, alone, peer = results.values()
    seconds = ours.least("work_s")
    ratio = _extrapolated_s(peer, classes) / seconds
    cpu = min(told["cpu_s"] / told["taken"] for told, _ in peer.runs) * classes / ours.least("cpu_s")
    most = max(ours.process_mib, alone.process_mib)
    return [
        Goal(f"under {MOST_S:.0f} s on two cores", f"{seconds:.1f} s", seconds < MOST_S),
        Goal("under 2 GiB in each process", f"{most:,.0f} MiB", most < MOST_MIB),
        Goal(
            f"at least {LEAST_RATIO:.0f}x scikit-learn", f"{ratio:.1f}x; CPU seconds {cpu:.1f}x", ratio >= LEAST_RATIO
        ),
        Goal("equal to scikit-learn to 1e-9", f"{difference:.1e}", difference <= WITHIN),
    ]


def _to_markdown(
    results: dict[str, Result],
    goals: Sequence[Goal],
    differences: tuple[float, float],
    args: argparse.Namespace,
    machine: dict[str, str],
    day: str,
) -> str:
    *ours, peer = results.values()
    taken = int(peer.runs[0][0]["taken"])
    told = _METHOD.format(
        images=args.images,
        classes=args.classes,
        repeats=args.repeats,
        taken=taken,
        sklearn=metadata.version("scikit-learn"),
        difference=differences[0],
        small=differences[1],
        imports=ours[0].least("imports_mib"),
    )
    first = ours[0].least("work_s")
    rows = []
    for result in ours:
        fastest = min((told for told, _ in result.runs), key=lambda told: float(told["work_s"]))
        seconds = (f"{fastest[name]:.1f}" for name in ("work_s", "update_s", "result_s", "cpu_s"))
        ratio = f"{fastest['work_s'] / first:.2f}"
        rows.append((result.engine, *seconds, f"{result.process_mib:,.0f}", ratio))
    whole = _extrapolated_s(peer, args.classes)
    measured = f"{peer.engine} ({peer.least('work_s'):.2f} s for {taken} classes)"
    cpu_s = peer.least("cpu_s") / taken * args.classes
    rows.append((measured, f"{whole:.1f}", "", "", f"{cpu_s:.1f}", f"{peer.process_mib:,.0f}", f"{whole / first:.2f}"))
    head = ("engine", "seconds", "of it update", "of it result", "CPU s", "largest process, MiB", "ratio")
    parts = [f"# Evaluation metrics, {day}", told, "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    told_goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for goal in goals]
    parts += ["## Goals", _table(("goal", "found", "met"), told_goals), "## Engines", _table(head, rows)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--images", type=int, default=FULL_IMAGES, help="images (default %(default)s)")
    parser.add_argument("--classes", type=int, default=FULL_CLASSES, help="classes (default %(default)s)")
    parser.add_argument("--taken", type=int, default=60, help="classes that scikit-learn gets (default %(default)s)")
    add_rounds(parser)
    add_places(parser, "benchmark-metrics", "scratch files, outputs and logs")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
