"""Runs engines in turns (A B A B), each as a whole process, and keeps what was measured."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compare import Digest, compare_labels, digest
from measure import Measured, measure

ENGINES = Path(__file__).parent / "engines"


class Failed(Exception):
    """The run cannot go on; the message says why and where the log is."""


@dataclass(frozen=True)
class Engine:
    """What `command(output)` does, given a folder that is not there yet."""

    name: str
    command: Callable[[Path], list[str]]
    rows: int
    table: str = "."  # folder of the Parquet files, below the output


@dataclass(frozen=True)
class Run:
    """One run; `start_s` and `work_s` are told by the engine itself."""

    start_s: float
    work_s: float
    written_mib: float
    measured: Measured


@dataclass
class Result:
    """All runs of an engine; times are those of the fastest, memory is the highest.

    The fastest, because a machine that others share only adds time: the same loop took 0.15 to 0.29 s within a minute.
    """

    engine: str
    rows: int
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    @property
    def fastest(self) -> Run:
        return min(self.runs, key=lambda run: run.work_s)

    @property
    def work_s(self) -> float:
        return self.fastest.work_s

    @property
    def whole_s(self) -> float:
        return self.fastest.measured.wall_s

    @property
    def peak_worker_mib(self) -> float | None:
        return max((run.measured.peak_worker_mib for run in self.runs if run.measured.peak_worker_mib), default=None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """How everything is measured in this run."""

    folder: Path
    vocabulary: Path
    rows: int
    cores: int
    repeats: int
    engines: Sequence[str]

    def lists(self, rows: int) -> list[str]:
        """The lists of so many rows, made where they are not there yet, and read once so that all find them cached."""
        folder = self.folder / f"lists-{rows}"
        if not (folder / "expected.json").exists():
            self.say(f"making lists of {rows:,} rows")
            command = [str(Path(sys.executable).with_name("ml-images")), "sample", "lists", "--rows", str(rows)]
            subprocess.run([*command, "--vocabulary", str(self.vocabulary), "--output", str(folder)], check=True)
        return [str(file) for file in warm(sorted(folder.glob("*.txt")))]

    def say(self, what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    def peer(self, script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(ENGINES / script), *map(str, arguments)]

    def ours(self, job: str, *arguments: str, master: str = "") -> list[str]:
        return self.peer("ours.py", master or f"local[{self.cores}]", job, *arguments)

    def annotate(self, closure: str, output: Path, rows: int, master: str = "") -> list[str]:
        lists = ",".join(self.lists(rows))
        given = (f"lists=[{lists}]", f"vocabulary={self.vocabulary}", f"output={output}", f"closure={closure}")
        return self.ours("annotate", *given, master=master)

    def wanted(self, engines: Sequence[Engine], extra: Sequence[str] = ()) -> list[Engine]:
        """`ours` and those that --engines names; without it all but `extra`."""
        named = [engine for engine in engines if engine.name in self.engines or engine.name == "ours"]
        return named if self.engines else [engine for engine in engines if engine.name not in extra]

    def rounds(
        self, title: str, engines: Sequence[Engine], check: Callable[[Engine, Path], None] = lambda *_: None
    ) -> list[Result]:
        """Run all engines in turns. `check` sees each output before it is removed; that of the first engine stays.

        A peer that fails (out of memory, say) is a result, too, and is not run again.
        """
        results = {engine.name: Result(engine.name, engine.rows) for engine in engines}
        for number in range(self.repeats):
            for engine in engines:
                result = results[engine.name]
                if result.failure:
                    continue
                output = self.output(title, engine)
                self.run(f"{title} {number + 1}/{self.repeats}", engine, output, result)
                if engine is engines[0]:
                    must_have_run(result)
                if not result.failure:
                    check(engine, output)
                if engine is not engines[0]:
                    shutil.rmtree(output, ignore_errors=True)
        return list(results.values())

    def output(self, title: str, engine: Engine) -> Path:
        return self.folder / "outputs" / f"{title}-{engine.name}".replace(" ", "-").replace("/", "-")

    def run(self, title: str, engine: Engine, output: Path, result: Result) -> None:
        """One run of `engine`, appended to `result`."""
        shutil.rmtree(output, ignore_errors=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / "scratch"  # where DuckDB spills
        scratch.mkdir(exist_ok=True)
        log = self.folder / f"{output.name}.log"
        measured = measure(engine.command(output), self.cores, scratch, log)
        shutil.rmtree(scratch)
        if measured.exit_code:
            result.failure = f"exit code {measured.exit_code} after {measured.wall_s:.0f} s, see {log}"
            self.say(f"{title} {engine.name}: {result.failure}")
            return
        times = json.loads(measured.last_line)
        written = sum(file.stat().st_size for file in (output / engine.table).rglob("*.parquet")) / (1 << 20)
        result.runs.append(Run(times["start_s"], times["work_s"], written, measured))
        told = f"{measured.wall_s:.1f} s, start {times['start_s']:.1f}, work {times['work_s']:.1f}"
        self.say(f"{title} {engine.name}: {told}, CPU {measured.cpu_s:.1f}, {measured.peak_tree_mib:.0f} MiB")


class SameLabels:
    """A check for `rounds`: the labels of all engines are those of the first."""

    def __init__(self) -> None:
        self._first: tuple[Path, Digest] | None = None

    def __call__(self, engine: Engine, output: Path) -> None:
        if self._first is None:
            self._first = output / engine.table, digest(str(output / engine.table))
        ours, known = self._first
        compare_labels(str(ours), str(output / engine.table), known)


def must_have_run(result: Result) -> None:
    """Raises Failed when it did not: without ours there is nothing to compare."""
    if result.failure:
        raise Failed(f"{result.engine}: {result.failure}")


def warm(files: Sequence[Path]) -> Sequence[Path]:
    """Read the files once."""
    for file in files:
        with file.open("rb") as opened:
            while opened.read(1 << 24):
                pass
    return files
