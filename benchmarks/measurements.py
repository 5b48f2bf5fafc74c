"""What is measured: which engines do which work, how their outputs are compared, and the goal of each."""

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from bench import Bench, Engine, Result, SameLabels, must_have_run, warm
from clusters import give_each_a_core, standalone
from compare import compare_pairs

ROOT = Path(__file__).parents[1]
MOST_WORKER_MIB = 1536
EVEN = 1.15  # linear and independent within 15 %


@dataclass(frozen=True)
class Goal:
    what: str
    found: str
    met: bool


@dataclass(frozen=True)
class Section:
    """One table of the report. Its first result is what the others are compared with."""

    title: str
    note: str
    results: list[Result]
    goals: list[Goal]


def parse(bench: Bench) -> Section:
    engines = [
        Engine("ours", lambda output: bench.annotate("none", output, bench.rows), bench.rows, "labels"),
        _labels(bench, "polars", "polars_labels.py", "parse"),
        _labels(bench, "duckdb", "duckdb_labels.py", "parse"),
        Engine(
            "spark",
            lambda output: bench.peer("spark_sql_labels.py", output, *bench.lists(bench.rows)),
            bench.rows,
        ),
    ]
    results = bench.rounds("parse", bench.wanted(engines), SameLabels())
    note = (
        "List text to Parquet: key, source, classes, confidences. Ours also writes origins, rejects and line numbers, \
looks for keys that come twice and checks every byte."
    )
    goals = _faster(results, 1.0, ("polars", "duckdb"), "parse: no slower than the faster of Polars and DuckDB")
    shutil.rmtree(bench.output("parse", engines[0]))
    return Section("Parse", note, results, goals)


def close(bench: Bench) -> Section:
    engines = [
        Engine("ours", lambda output: bench.annotate("closed_max", output, bench.rows), bench.rows, "labels"),
        _labels(bench, "polars", "polars_labels.py", "close"),
        _labels(bench, "duckdb", "duckdb_labels.py", "close"),
        _labels(bench, "polars-join", "polars_labels.py", "join"),
        _labels(bench, "duckdb-join", "duckdb_labels.py", "join"),
    ]
    wanted = bench.wanted(engines, extra=("polars-join", "duckdb-join"))
    results = bench.rounds("close", wanted, SameLabels())
    note = "List text to Parquet with closed_max. The peers close each distinct label text once, the fastest way found \
for them; `-join` unnests, joins the ancestors, takes the maximum and regroups every row. Ours also writes origins."
    goals = _faster(results, 4.0, ("duckdb", "duckdb-join"), "parse + closed_max: at least 4x DuckDB")
    goals += _faster(results, 3.0, ("polars", "polars-join"), "parse + closed_max: at least 3x Polars")
    _keep_closed(bench, bench.output("close", engines[0]))
    return Section("Parse and close", note, results, goals)


def cooccur(bench: Bench) -> Section:
    annotated = _closed(bench)
    labels = annotated / "labels"
    engines = [
        Engine(
            "ours",
            lambda output: bench.ours("cooccur", f"annotations={annotated}", f"output={output}"),
            bench.rows,
            "cooccurrence",
        ),
        Engine("scipy", lambda output: bench.peer("scipy_cooccurrence.py", labels, output, 1), bench.rows),
        Engine(
            "scipy-processes",
            lambda output: bench.peer("scipy_cooccurrence.py", labels, output, bench.cores),
            bench.rows,
        ),
        Engine("duckdb", lambda output: bench.peer("duckdb_cooccurrence.py", labels, output), bench.rows),
    ]
    ours = bench.output("cooccur", engines[0]) / engines[0].table

    def check(engine: Engine, output: Path) -> None:
        if engine.name != "ours":
            compare_pairs(str(ours), str(output / engine.table))

    results = bench.rounds("cooccur", bench.wanted(engines), check)
    shutil.rmtree(ours.parent)
    note = "Counts of all pairs of classes from the closed labels table. Ours also writes P(a|b), PMI and lift."
    peers = ("scipy", "scipy-processes", "duckdb")
    goals = _faster(results, 2.0, peers, "co-occurrence: at least 2x the faster of scipy and DuckDB")
    return Section("Co-occurrence", note, results, goals)


def describe(bench: Bench) -> Section:
    annotated = _closed(bench)
    engines = [
        Engine("parse", lambda output: bench.annotate("none", output, bench.rows), bench.rows, "labels"),
        Engine(
            "describe",
            lambda output: bench.ours("describe", f"annotations={annotated}", f"output={output}"),
            bench.rows,
        ),
    ]
    results = bench.rounds("describe", engines)
    shutil.rmtree(bench.output("describe", engines[0]))
    share = results[1].work_s / results[0].work_s
    goal = Goal("describe: under a quarter of the parse time", f"{share:.2f} of it", share < 0.25)
    return Section("Describe", "Both are ours: report.html and report.json, beside parsing.", results, [goal])


def scaling(bench: Bench) -> Section:
    sizes = [bench.rows // 4, bench.rows // 2, bench.rows]

    def sized(rows: int) -> Engine:
        return Engine(f"ours, {rows:,} rows", lambda out: bench.annotate("closed_max", out, rows), rows, "labels")

    engines = [sized(rows) for rows in sizes]
    results = bench.rounds("scaling", engines)
    shutil.rmtree(bench.output("scaling", engines[0]))
    pace = [result.work_s / result.rows for result in results]
    spread = max(pace) / min(pace)
    worker = [result.peak_worker_mib or 0.0 for result in results]
    told = ", ".join(f"{mib:.0f}" for mib in worker)
    grown = worker[-1] / worker[0]
    goals = [
        Goal("time linear in N within 15 % (1/4, 1/2, 1)", f"slowest to fastest pace {spread:.2f}", spread <= EVEN),
        Goal("largest Python worker under 1.5 GiB", f"{told} MiB", max(worker) < MOST_WORKER_MIB),
        Goal("its peak independent of N (within 15 %)", f"{grown:.2f} from N/4 to N", grown <= EVEN),
    ]
    note = "Pace is of the work, without the start of Spark and its workers. " + growth(results)
    return Section("Scaling of parse and close", note, results, goals)


def growth(results: Sequence[Result]) -> str:
    """What grows with the rows and what is fixed, in words; `results` by ascending rows."""
    steps = [
        f"{1e6 * (more.work_s - less.work_s) / (more.rows - less.rows):.2f} s from {less.rows:,} to {more.rows:,} rows"
        for less, more in itertools.pairwise(results)
    ]
    slope, fixed = np.polyfit([result.rows for result in results], [result.work_s for result in results], 1)
    line = f"the line through all: {slope * 1e6:.2f} s and {fixed:.1f} s fixed."
    return f"A million added rows cost {', '.join(steps)}; {line}"


def cluster(bench: Bench) -> Section:
    results = [Result("1 worker", bench.rows), Result("2 workers", bench.rows)]
    folder = bench.folder / "standalone"
    for number in range(bench.repeats):
        for workers, result in enumerate(results, 1):
            with standalone(folder, workers) as master:
                give_each_a_core(folder)
                annotate = partial(bench.annotate, "closed_max", rows=bench.rows, master=master)
                run = Engine(result.engine, annotate, bench.rows, "labels")
                output = bench.output("cluster", run)
                bench.run(f"cluster {number + 1}/{bench.repeats}", run, output, result)
                must_have_run(result)
                shutil.rmtree(output, ignore_errors=True)
    gain = results[0].work_s / results[1].work_s
    goal = Goal("two standalone workers of one core: at least 1.7x one", f"{gain:.2f}x", gain >= 1.7)
    note = """A standalone cluster on loopback; each worker, its executor and Python are kept on a core of their own, \
the driver takes what it finds. CPU and memory are the driver's."""
    return Section("Workers", note, results, [goal])


MEASUREMENTS: dict[str, Callable[[Bench], Section]] = {
    "parse": parse,
    "close": close,
    "cooccur": cooccur,
    "describe": describe,
    "scaling": scaling,
    "cluster": cluster,
}


def _labels(bench: Bench, name: str, script: str, what: str) -> Engine:
    def command(output: Path) -> list[str]:
        return bench.peer(script, what, output, bench.vocabulary, *bench.lists(bench.rows))

    return Engine(name, command, bench.rows)


def _faster(results: Sequence[Result], factor: float, peers: Sequence[str], what: str) -> list[Goal]:
    """The goal that `peers` need at least `factor` times as long as the first result; by work, without any start."""
    there = [result for result in results if result.engine in peers and result.runs]
    if not there:
        return []
    fastest = min(there, key=lambda result: result.work_s)
    ratio = fastest.work_s / results[0].work_s
    return [Goal(what, f"{ratio:.2f}x ({fastest.engine})", ratio >= factor)]


def _closed(bench: Bench) -> Path:
    """Our tables with closed_max, made where `close` has not been measured before."""
    folder = bench.folder / f"closed-{bench.rows}"
    if not (folder / "labels" / "_SUCCESS").exists():
        engine = Engine("ours", lambda output: bench.annotate("closed_max", output, bench.rows), bench.rows, "labels")
        result = Result(engine.name, engine.rows)
        bench.run("labels for what follows", engine, bench.output("close", engine), result)
        must_have_run(result)
        _keep_closed(bench, bench.output("close", engine))
    warm(sorted((folder / "labels").glob("*.parquet")))
    return folder


def _keep_closed(bench: Bench, output: Path) -> None:
    folder = bench.folder / f"closed-{bench.rows}"
    shutil.rmtree(folder, ignore_errors=True)
    output.rename(folder)
