"""CIFAR-10 with Tencent's labels, from lists to trained networks by our own chain, and what closing the labels buys.

    python benchmarks/cifar10.py --parquet cifar10/train.parquet --vocabulary dictionary_and_semantic_hierarchy.txt

annotate, extract, materialize, train.py with conf/train/cifar10_smoke.yaml and evaluate, twice: with training labels
closed under the hierarchy (closed_max) and as the released rule leaves them (as_released). Both networks are evaluated
against the same closed labels of the validation pictures. Run it again after an interruption: what is done is not done
again, and a step that was cut off begins anew, as its minutes count. The report goes to
benchmarks/results/cifar10-DATE.md and .json, the curves to cifar10-DATE.png: first of the one network, then of both.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from bench import Failed
from cifar10_figure import draw
from cifar10_lists import Files, write_files
from cifar10_report import CLOSURES, VIEWS, Found, evaluated, goals_of, to_markdown
from machine import describe_machine
from measure import measure
from measurements import ROOT

from ml_images.hierarchy.vocabulary import parse_vocabulary


class Step(NamedTuple):
    name: str
    command: list[str]


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(args.cores)
    machine["training"] = f"torch {metadata.version('torch')}"
    files = write_files(args.parquet, args.vocabulary, folder / "given")
    last_steps = {f"evaluate-{closure}-{VIEWS[-1]}": CLOSURES[: n + 1] for n, closure in enumerate(CLOSURES)}
    try:
        for step, seconds in _run_all(steps(files, folder, args.words), folder, args.cores):
            if step in last_steps:
                _report(_found(last_steps[step], files, folder, args, seconds), machine, args.results)
    except Failed as error:
        print(f"cifar10.py: {error}", file=sys.stderr)
        return 1
    return 0


def _found(
    closures: Sequence[str], files: Files, folder: Path, args: argparse.Namespace, seconds: Mapping[str, float]
) -> Found:
    """What the runs with these training labels came to."""
    vocabulary = parse_vocabulary(files.vocabulary.read_bytes(), str(files.vocabulary))
    reports = {closure: json.loads((folder / f"train-{closure}" / "report.json").read_text()) for closure in closures}
    return Found(
        words=args.words,
        cores=args.cores,
        train_images=reports[closures[0]]["rows"]["train"],
        seconds=seconds,
        histories={closure: report["history"] for closure, report in reports.items()},
        evaluations={
            closure: {views: evaluated(folder / f"evaluate-{closure}-{views}", vocabulary) for views in VIEWS}
            for closure in closures
        },
    )


def _report(found: Found, machine: Mapping[str, str], results: Path) -> None:
    goals = goals_of(found.evaluations[CLOSURES[0]], found.seconds[f"train-{CLOSURES[0]}"])
    name = f"cifar10-{datetime.now(timezone.utc):%Y-%m-%d}"
    results.mkdir(parents=True, exist_ok=True)
    draw(found.histories, results / f"{name}.png")
    text = to_markdown(found, goals, machine, f"{name}.png", name.removeprefix("cifar10-"))
    (results / f"{name}.md").write_text(text)
    content = {"machine": machine, "goals": list(map(asdict, goals)), **asdict(found)}
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text, flush=True)


def steps(files: Files, folder: Path, words: Sequence[str]) -> Iterator[Step]:
    """The commands of the chain, in order; `words`: options of train.py. Checkpoints are looked for when it comes to
    them.

    The open data set is made of open training rows, to which the closed validation rows are then appended.
    """
    closed, released = CLOSURES

    def annotate(closure: str, lists: Sequence[Path]) -> Step:
        given = [f"lists=[{','.join(map(str, lists))}]", f"vocabulary={files.vocabulary}", f"closure={closure}"]
        return Step(f"annotate-{closure}", _job("annotate", f"output={folder}/annotate-{closure}", *given))

    def materialize(closure: str, annotations: str, *more: str) -> list[str]:
        given = [f"annotations={folder}/annotate-{annotations}", f"images={folder}/extract/images", *more]
        lists = f"splits.lists=[val={files.val_keys}]"
        return _job("materialize", f"output={folder}/materialize-{closure}", lists, *given)

    yield annotate(closed, [files.train, files.val])
    yield annotate(released, [files.train])
    labels = f"labels={folder}/annotate-{closed}/labels"
    as_it_is = "extract.image.short_side=original"
    yield Step("extract", _job("extract", f"archives={files.archive}", labels, f"output={folder}/extract", as_it_is))
    yield Step(f"materialize-{closed}", materialize(closed, closed))
    yield Step(f"materialize-{released}", materialize(released, released))
    yield Step(f"materialize-{released}-val", materialize(released, closed, "append=true"))
    for closure in CLOSURES:
        data, output = f"{folder}/materialize-{closure}/dataset", f"{folder}/train-{closure}"
        config = [str(ROOT / "conf" / "train" / "cifar10_smoke.yaml"), f"data.path={data}", f"output={output}"]
        yield Step(f"train-{closure}", [sys.executable, str(ROOT / "train.py"), *config, *words])
        last = max(Path(output, "checkpoints").glob("step-*.safetensors"), default=Path("missing"))
        for views in VIEWS:
            given = [f"checkpoint={last}", f"data={folder}/materialize-{closed}/dataset", f"crops={views}"]
            name = f"evaluate-{closure}-{views}"
            yield Step(name, _job("evaluate", f"output={folder}/{name}", *given))


def _job(name: str, *words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("ml-images")), name, *words]


def _run_all(chain: Iterator[Step], folder: Path, cores: int) -> Iterator[tuple[str, dict[str, float]]]:
    """After each step its name, and the seconds of all so far; what is done is not done again. Raises Failed."""
    done = folder / "done.json"
    seconds: dict[str, float] = json.loads(done.read_text()) if done.exists() else {}
    for step in chain:
        if step.name in seconds:
            yield step.name, seconds
            continue
        shutil.rmtree(folder / step.name, ignore_errors=True)
        print(f"$ {' '.join(step.command)}", file=sys.stderr, flush=True)
        log = folder / f"{step.name}.log"
        found = measure(step.command, cores, folder, log)
        if found.exit_code:
            raise Failed(f"{step.name}: exit code {found.exit_code}, see {log}")
        seconds[step.name] = found.wall_s
        done.write_text(json.dumps(seconds, indent=1) + "\n")
        yield step.name, seconds


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--parquet", type=Path, required=True, help="the pictures: columns key, wnid, jpeg")
    parser.add_argument("--vocabulary", type=Path, required=True, help="all of Tencent's classes")
    parser.add_argument("--cores", type=int, default=2, help="cores for every step (default %(default)s)")
    told = "what the steps write, and logs (default %(default)s)"
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmark-cifar10", help=told)
    told = "where the report goes (default %(default)s)"
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help=told)
    parser.add_argument("words", nargs="*", help="options of train.py for both runs, e.g. epochs=2")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
