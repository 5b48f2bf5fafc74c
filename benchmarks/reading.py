"""What the readers' benchmark measures: which engines read which set, how outputs are compared, and the goals."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench import ENGINES, Failed, warm
from measure import Measured, measure
from measurements import Goal
from reading_memory import SharedOnce
from reading_peers import VERSIONS, python_of
from reading_sets import Sets

ARROW, PETASTORM, BARE = "ours, arrow", "ours, petastorm", "bare loop"
ROWS_PEER = "petastorm"
_BATCH = 64
ROUNDS_OF_CLOSEST = 3  # for each of the others: what is compared runs right after each other, and the median counts
_MEAN_WITHIN = 2.0  # levels of 255: crops are random, 8,000 means differ by 0.3


@dataclass(frozen=True)
class Engine:
    name: str
    command: Callable[[], list[str]]  # makes what it needs at the first call


@dataclass(frozen=True)
class Run:
    told: Mapping[str, Any]  # by the engine, see engines/read_epoch.py
    measured: Measured
    peak_mib: float  # of all processes, what they share counted once


@dataclass
class Result:
    """All runs of an engine; times are those of the fastest, memory is the highest."""

    engine: str
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    @property
    def fastest(self) -> Run:
        return max(self.runs, key=lambda run: float(run.told.get("steady", 0)))

    @property
    def steady(self) -> float:
        """Rows per second after the first batch."""
        return float(self.fastest.told["steady"])

    def least(self, name: str) -> float:
        return min(float(run.told[name]) for run in self.runs)

    @property
    def peak_mib(self) -> float:
        return max(run.peak_mib for run in self.runs)


@dataclass(frozen=True)
class Measurement:
    """One table of the report."""

    title: str
    note: str
    results: list[Result]
    goals: list[Goal]
    rows: int = 0  # that each engine should deliver
    closest: list[Result] = field(default_factory=list)  # ours and what it is measured by, in rounds of their own


@dataclass(frozen=True)
class Reading:
    sets: Sets
    folder: Path
    cores: int
    repeats: int
    engines: Sequence[str]
    epochs: int  # of the rows without decoding

    def training(self) -> Measurement:
        results = self._rounds("training", self._training_engines())
        peers = _peers(results)
        by_name = {result.engine: result for result in results if result.runs}
        best = max(peers, key=lambda peer: peer.steady, default=None)
        wanted = {ARROW, PETASTORM, BARE, best.engine if best else ""} & by_name.keys()
        engines = [engine for engine in self._training_engines() if engine.name in wanted]
        rounds = ROUNDS_OF_CLOSEST * self.repeats
        closest = self._rounds("closest", engines, rounds)
        found = {result.engine: result for result in closest if len(result.runs) == rounds}
        goals = []
        for name in (ARROW, PETASTORM):
            if best and {name, best.engine} <= found.keys():
                ratio = ratio_of_rounds(found[name], found[best.engine])
                what = f"{name}: at least 1.3x the images/s of the best peer"
                goals.append(Goal(what, f"{ratio:.2f}x {best.engine}", ratio >= 1.3))
            if {name, BARE} <= found.keys():
                share = ratio_of_rounds(found[name], found[BARE])
                goals.append(Goal(f"{name}: at least 85 % of the bare loop", f"{share:.1%}", share >= 0.85))
        for name in (ARROW, PETASTORM):
            if ours := by_name.get(name):
                first = ours.least("first_s")
                told = f"{first:.2f} s (imports before it: {ours.least('start_s'):.2f} s)"
                goals.append(Goal(f"{name}: first batch within 2 s of opening", told, first < 2))
        least = min(peers, key=lambda peer: peer.peak_mib, default=None)
        for name in (ARROW, PETASTORM):
            ours = by_name.get(name)
            if ours and least:
                told = f"{ours.peak_mib:,.0f} MiB, least of them {least.peak_mib:,.0f} MiB ({least.engine})"
                goals.append(Goal(f"{name}: peak memory below every peer's", told, ours.peak_mib < least.peak_mib))
        goals += _alike(results)
        note = f"RandomResizedCrop-224 (area 0.08 to 1) and flip, uint8 batches of {_BATCH} on the CPU, one epoch of \
{self.sets.count:,} pictures, all shuffled in the way of their reader. Peers: two workers (Petastorm: threads, which \
deliver 1,360 images/s where its processes deliver 210), torchvision's transforms behind the decoder in brackets."
        return Measurement("training input", note, results, goals, self.sets.count, closest)

    def rows(self) -> Measurement:
        dataset = str(self.sets.place("dataset"))
        names = {ARROW: "arrow", ROWS_PEER: "petastorm", f"{ROWS_PEER}, with labels": "petastorm-lists"}
        engines = [self._engine(name, "read_rows.py", dataset, kind, self.epochs) for name, kind in names.items()]
        results = self._rounds("rows", engines)
        goals = []
        by_name = {result.engine: result for result in results if result.runs}
        for peer in (name for name in names if name != ARROW and {ARROW, name} <= by_name.keys()):
            ratio = by_name[ARROW].steady / by_name[peer].steady
            goals.append(Goal(f"rows without decoding: at least 1.5x {peer}", f"{ratio:.2f}x", ratio >= 1.5))
        note = f"{self.epochs} epochs; key and picture of every row as Python's own bytes, from ours also the labels, \
in the order of the epoch. petastorm.make_batch_reader by two threads, row groups and rows shuffled; it cannot read \
lists of different lengths, so the labels are left out, or made bytes in a TransformSpec."
        return Measurement("rows without decoding", note, results, goals, self.sets.count)

    def resume(self) -> Measurement:
        dataset, middle = str(self.sets.place("dataset")), self.sets.count // 2
        kinds = {ARROW: "arrow", PETASTORM: "petastorm"}
        engines = [self._engine(name, "read_ours.py", dataset, kind, middle, _BATCH) for name, kind in kinds.items()]
        results = self._rounds("resume", engines)
        goals = []
        for result in (result for result in results if result.runs):
            first = result.least("first_s")
            what = f"{result.engine}: resumed in the middle of an epoch within 3 s"
            goals.append(Goal(what, f"{first:.2f} s (imports before it: {result.least('start_s'):.2f} s)", first < 3))
        note = f"A new process, from opening the data set to the batch at place {middle:,} of the epoch."
        return Measurement("resume", note, results, goals, _BATCH)

    def planning(self) -> Measurement:
        engines = [self._engine(kind, "read_plan.py", kind) for kind in ("plain", "replicated")]
        results = self._rounds("planning", engines)
        goals = []
        for result in (result for result in results if result.runs):
            took, peak = result.least("work_s"), max(run.measured.peak_process_mib for run in result.runs)
            told = f"{took:.2f} s, {peak:,.0f} MiB"
            goals.append(Goal(f"planning, {result.engine}: under 10 s and 1 GiB", told, took < 10 and peak < 1024))
        note = "17,609,752 rows in 5,000 files of 14 row groups, 32 ranks: order, pieces of one rank and how many row \
groups it holds. Simulated: no file is there; factors of replication are drawn at random. Memory is that of the whole \
process, with torch and what was drawn."
        return Measurement("planning", note, results, goals)

    def _training_engines(self) -> list[Engine]:
        dataset, count = str(self.sets.place("dataset")), self.sets.count
        whole = count // _BATCH * _BATCH
        engines = [
            self._engine(ARROW, "read_ours.py", dataset, "arrow", 0, whole),
            self._engine(PETASTORM, "read_ours.py", dataset, "petastorm", 0, whole),
            self._engine(BARE, "read_bare.py", self.sets.photos, whole),
        ]
        for decoder in ("Pillow", "torchvision"):
            name, kind = f"petastorm ({decoder})", decoder.lower()
            engines.append(self._engine(name, "read_petastorm.py", dataset, kind))
        folder = str(self.sets.place("imagefolder"))
        for decoder in ("Pillow", "torchvision"):
            name, kind = f"ImageFolder ({decoder})", decoder.lower()
            engines.append(self._engine(name, "read_folder.py", folder, kind))
        scripts = {"webdataset": [], "mosaicml-streaming": ["read"], "litdata": ["read"]}
        for peer, verb in scripts.items():
            name = f"{peer} (torchvision)"
            if self._wanted(name):
                script = {"mosaicml-streaming": "read_mds.py"}.get(peer, f"read_{peer}.py")
                told = [*verb, str(self.sets.place(peer)), "torchvision"]
                engines.append(self._engine(name, script, *told, python=python_of(peer, self.sets.folder)))
        return [engine for engine in engines if self._wanted(engine.name)]

    def _wanted(self, name: str) -> bool:
        """`ours` and what --engines names, by the words before any bracket or comma; without it all."""
        word = name.partition(" (")[0].partition(",")[0]
        return not self.engines or word == "ours" or word in self.engines

    def _engine(self, name: str, script: str, *arguments: object, python: str = sys.executable) -> Engine:
        return Engine(name, lambda: [python, str(ENGINES / script), *map(str, arguments)])

    def _rounds(self, title: str, engines: Sequence[Engine], rounds: int = 0) -> list[Result]:
        """Run all engines in turns, `repeats` of them if not told; a peer that fails is a result, too, and is not run
        again."""
        rounds = rounds or self.repeats
        warm([path for path in self.sets.folder.glob(f"*-{self.sets.count}/**/*") if path.is_file()])
        results = {engine.name: Result(engine.name) for engine in engines}
        for engine in engines:
            if (
                engine.name == ARROW and title == "training"
            ):  # compiles its loops, once for a machine, which takes 30 MiB more
                self._run(f"{title}, not counted,", engine, Result(engine.name))
        for number in range(rounds):
            for engine in engines:
                result = results[engine.name]
                if not result.failure:
                    self._run(f"{title} {number + 1}/{rounds}", engine, result)
                    if result.failure and engine.name.startswith("ours"):
                        raise Failed(f"{engine.name}: {result.failure}")
        return list(results.values())

    def _run(self, title: str, engine: Engine, result: Result) -> None:
        scratch = self.folder / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        words = "".join(letter if letter.isalnum() else "-" for letter in f"{title.split()[0]} {engine.name}")
        log = self.folder / f"{words}.log"
        with SharedOnce() as memory:
            measured = measure(engine.command(), self.cores, scratch, log)
        shutil.rmtree(scratch)
        if measured.exit_code:
            result.failure = f"exit code {measured.exit_code} after {measured.wall_s:.0f} s, see {log}"
            print(f"{title} {engine.name}: {result.failure}", file=sys.stderr, flush=True)
            return
        result.runs.append(Run(json.loads(measured.last_line), measured, memory.peak_mib))
        told = result.runs[-1].told
        steady = f", {told['steady']:,.0f}/s" if told.get("steady") else ""
        print(
            f"{title} {engine.name}: start {told['start_s']:.1f} s, work {told['work_s']:.2f} s{steady}, "
            f"CPU {measured.cpu_s:.1f}, {memory.peak_mib:.0f} MiB",
            file=sys.stderr,
            flush=True,
        )


MEASUREMENTS: dict[str, Callable[[Reading], Measurement]] = {
    "training": Reading.training,
    "rows": Reading.rows,
    "resume": Reading.resume,
    "planning": Reading.planning,
}
ENGINE_NAMES = ("ours", "bare loop", "petastorm", "ImageFolder", *VERSIONS)


def quiet_peers() -> None:
    """For all processes that are started from now on: what peers say is told in megabytes of warnings."""
    os.environ |= {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}


def ratio_of_rounds(ours: Result, other: Result) -> float:
    """Median over rounds of how much faster `ours` is: a host's speed changes between rounds, not so much in one."""
    pairs = zip(ours.runs, other.runs, strict=True)
    return median(float(mine.told["steady"]) / float(its.told["steady"]) for mine, its in pairs)


def _peers(results: Sequence[Result]) -> list[Result]:
    return [one for one in results if one.runs and not one.engine.startswith("ours") and one.engine != BARE]


def _alike(results: Sequence[Result]) -> list[Goal]:
    """Batches of the same shape and type, and of the same mean brightness."""
    told = [run.told for result in results if result.engine != BARE for run in result.runs]
    if not told:
        return []
    kinds = {(tuple(one["shape"]), one["dtype"]) for one in told}
    means = [float(run.told["mean"]) for result in results for run in result.runs]
    spread = max(means) - min(means)
    found = f"{', '.join(f'{dtype} {shape}' for shape, dtype in sorted(kinds))}; means differ by {spread:.2f}"
    alike = kinds == {((_BATCH, 3, 224, 224), "uint8")} and spread <= _MEAN_WITHIN
    return [Goal("all engines: the same shape and type, mean pixels within 2 levels", found, alike)]
