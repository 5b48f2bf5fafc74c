"""The download beside img2dataset and beside a loop over bytes in memory: the same photos, sizes, quality and cores.

A web server on loopback (nginx, or ours where that is missing) sends the photos of a folder under as many URLs as
wanted. img2dataset gets an environment of its own in --folder. The report goes to benchmarks/results/download-DATE.md
and .json.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from annotations import _some_of
from arguments import add_places, add_rounds
from bench import Bench, Failed
from compare import Different
from fetching import LOOP, MEASUREMENTS, PEER, Fetching, Measurement, Sizes
from fetching_report import to_json, to_markdown
from machine import describe_machine
from measurements import ROOT
from photo_sets import large_photos, plain_photos
from web_server import serving

ENGINES = ("ours", PEER, LOOP)

_EXAMPLES = """examples:
  python benchmarks/download.py --photos ../shared/data/photos
  python benchmarks/download.py --photos PHOTOS --http 2000 --large 100 --repeats 1 --only http,large
  python benchmarks/download.py --photos PHOTOS --engines img2dataset --only http,https,large

Under half an hour on two cores. Exit code 1 when outputs differ or ours fails; the other measurements go on then. A
goal that is missed is told in the table."""


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root"
    photos = plain_photos(args.photos, root)
    sizes = Sizes(args.http, args.https, args.large, args.workers)
    bench = Bench(folder, Path(), sizes.http, args.cores, args.repeats, args.engines)
    machine = describe_machine(args.cores)
    with serving(root, folder / "server") as served:
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.environ |= {"SPARK_CONF_DIR": str(ROOT / "cluster" / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}
        os.environ |= {"SSL_CERT_FILE": str(served.authorities), "NO_ALBUMENTATIONS_UPDATE": "1"}
        fetching = Fetching(bench, served, photos, partial(large_photos, photos, root), sizes, args.threads)
        tried = [_measure(name, fetching) for name in args.only]
    measurements = [measurement for measurement in tried if measurement is not None]
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    text = to_markdown(measurements, served.name, args.repeats, machine, day)
    whole = sizes == Sizes() and len(measurements) == len(MEASUREMENTS) and not args.engines
    name = f"download-{day}" if whole else f"download-part-{day}"
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{name}.md").write_text(text)
    content = to_json(measurements, served.name, machine, day)
    (args.results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(text)
    print(f"written to {args.results / name}.md and .json")
    return int(len(measurements) < len(tried))


def _measure(name: str, fetching: Fetching) -> Measurement | None:
    """None where it failed, so that what else was measured gets into the report."""
    try:
        return MEASUREMENTS[name](fetching)
    except (Different, Failed) as error:
        print(f"download.py: {name}: {error}", file=sys.stderr, flush=True)
        return None


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG photos")
    for field in fields(Sizes):
        told = f"URLs of the measurement {field.name} (default %(default)s)"
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help=told)
    add_rounds(parser)
    parser.add_argument("--threads", type=int, default=32, help="of each process of the peer (default %(default)s)")
    told = f"some of {','.join(MEASUREMENTS)} (default: all)"
    parser.add_argument("--only", type=_some_of(MEASUREMENTS), default=list(MEASUREMENTS), help=told)
    told = f"some of {','.join(ENGINES)} (default: all)"
    parser.add_argument("--engines", type=_some_of(ENGINES), default=[], help=told)
    add_places(parser, "benchmark-download", "pictures, lists, logs and the peer's environment")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
