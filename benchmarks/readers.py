"""Our readers beside Petastorm's DataLoader, torch's, webdataset, mosaicml-streaming and litdata.

The same JPEG bytes for all, in the layout that each wants, on the same cores. webdataset, mosaicml-streaming and
litdata get environments of their own in --folder. The report goes to benchmarks/results/readers-DATE.md and .json.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from annotations import _some_of
from arguments import add_places, add_rounds
from bench import Failed
from machine import describe_machine
from reading import ENGINE_NAMES, MEASUREMENTS, Measurement, Reading, quiet_peers
from reading_peers import VERSIONS
from reading_report import to_json, to_markdown
from reading_sets import Sets, resized

_IMAGES, _EPOCHS = 8_000, 25
_PACKAGES = ("torch", "torchvision", "pillow", "petastorm", "turbojpeg")

_EXAMPLES = """examples:
  python benchmarks/readers.py --photos ../shared/data/photos
  python benchmarks/readers.py --photos PHOTOS --images 2048 --repeats 1 --only training --engines ImageFolder

A quarter of an hour on two cores, and 4 GB in --folder. Exit code 1 when ours fails; the other measurements go on then.
A goal that is missed is told in the table."""


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    quiet_peers()
    machine = describe_machine(args.cores)
    versions = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    machine["readers"] = ", ".join([*versions, *(f"{name} {version}" for name, version in VERSIONS.items())])
    photos = resized(args.photos, folder)
    reading = Reading(Sets(folder, photos, args.images), folder, args.cores, args.repeats, args.engines, _EPOCHS)
    tried = [_measure(name, reading) for name in args.only]
    measurements = [measurement for measurement in tried if measurement is not None]
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    text = to_markdown(measurements, len(list(photos.glob("*.jpg"))), args.repeats, machine, day)
    whole = args.images == _IMAGES and len(measurements) == len(MEASUREMENTS) and not args.engines
    name = f"readers-{day}" if whole else f"readers-part-{day}"
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{name}.md").write_text(text)
    (args.results / f"{name}.json").write_text(json.dumps(to_json(measurements, machine, day), indent=1) + "\n")
    print(text)
    print(f"written to {args.results / name}.md and .json")
    return int(len(measurements) < len(tried))


def _measure(name: str, reading: Reading) -> Measurement | None:
    """None where it failed, so that what else was measured gets into the report."""
    try:
        return MEASUREMENTS[name](reading)
    except Failed as error:
        print(f"readers.py: {name}: {error}", file=sys.stderr, flush=True)
        return None


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG photos")
    parser.add_argument("--images", type=int, default=_IMAGES, help="pictures of an epoch (default %(default)s)")
    add_rounds(parser)
    told = f"some of {','.join(MEASUREMENTS)} (default: all)"
    parser.add_argument("--only", type=_some_of(MEASUREMENTS), default=list(MEASUREMENTS), help=told)
    told = f"ours and some of {','.join(ENGINE_NAMES)} (default: all)"
    parser.add_argument("--engines", type=_some_of(ENGINE_NAMES), default=[], help=told)
    add_places(parser, "benchmark-readers", "sets, logs and the peers' environments")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
