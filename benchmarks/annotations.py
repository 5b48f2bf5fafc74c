"""The annotation engine beside its peers: one run, the same cores, the same lists, outputs compared for equality.

Lists are made by `ml-images sample lists` and kept in --folder, with our closed labels, for the next run. The report
goes to benchmarks/results/annotations-DATE.md and .json, with the number of rows in the name where it is not the full
one.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timezone
from pathlib import Path

from arguments import add_places, add_rounds
from bench import Bench, Failed
from compare import Different
from machine import describe_machine
from measurements import MEASUREMENTS, ROOT
from render import to_json, to_markdown

FULL_ROWS = 17_609_752
ENGINES = ("ours", "polars", "duckdb", "polars-join", "duckdb-join", "spark", "scipy", "scipy-processes")

_EXAMPLES = """examples:
  python benchmarks/annotations.py --vocabulary dictionary_and_semantic_hierarchy.txt
  python benchmarks/annotations.py --vocabulary FILE --rows 200000 --repeats 1
  python benchmarks/annotations.py --vocabulary FILE --only parse,close --engines polars,duckdb-join

Two hours or less at full size on two cores, and 15 GB in --folder. Exit code 1 when outputs differ or ours fails; a
goal that is missed is told in the table."""


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ |= {"SPARK_CONF_DIR": str(ROOT / "cluster" / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, args.vocabulary.resolve(), args.rows, args.cores, args.repeats, args.engines)
    machine = describe_machine(args.cores)
    sizes = {Path(name).name: Path(name).stat().st_size for name in bench.lists(args.rows)}
    try:
        sections = [MEASUREMENTS[name](bench) for name in args.only]
    except (Different, Failed) as error:
        print(f"annotations.py: {error}", file=sys.stderr)
        return 1
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    text = to_markdown(sections, args.rows, args.repeats, sizes, machine, day)
    name = "-".join(["annotations", *([] if args.rows == FULL_ROWS else [str(args.rows)]), day])
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{name}.md").write_text(text)
    content = to_json(sections, args.rows, sizes, machine, day)
    (args.results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text)
    print(f"written to {args.results / name}.md and .json")
    return 0


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument(
        "--vocabulary", type=Path, required=True, help="the published class file: 4 columns with header"
    )
    parser.add_argument("--rows", type=int, default=FULL_ROWS, help="rows of the lists (default %(default)s)")
    add_rounds(parser)
    told = f"some of {','.join(MEASUREMENTS)} (default: all)"
    parser.add_argument("--only", type=_some_of(MEASUREMENTS), default=list(MEASUREMENTS), help=told)
    told = f"ours and some of {','.join(ENGINES)} (default: all without -join)"
    parser.add_argument("--engines", type=_some_of(ENGINES), default=[], help=told)
    add_places(parser, "benchmark", "lists, labels and logs")
    return parser


def _some_of(accepted: Collection[str]) -> Callable[[str], list[str]]:
    """A reader of names separated by commas."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in accepted:
                raise argparse.ArgumentTypeError(f"unknown '{name}'; accepted: {', '.join(accepted)}")
        return names

    return read


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
