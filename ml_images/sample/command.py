"""`ml-images sample write|serve|lists`: makes and serves the miniature world; makes lists as long as the published."""

import argparse
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, get_args

from ml_images.errors import InputError, StorageError
from ml_images.hierarchy.parse import Format, parse_hierarchy
from ml_images.hierarchy.vocabulary import Vocabulary
from ml_images.sample.full_scale.curve import parse_counts, published_counts
from ml_images.sample.full_scale.write import write_lists
from ml_images.sample.plan import FEWEST_IMAGES, MOST_IMAGES
from ml_images.sample.server import HOST, pictures_of, serve
from ml_images.sample.world import IMAGES, SEED, write
from ml_images.storage.paths import read_bytes

PORT = 8765
MOST_ROWS = 1_000_000_000
MOST_PROCESSES = 8  # beyond that the one that writes is the slowest

_DESCRIPTION = """A miniature world to try the whole chain on: pictures that show their labels, a class hierarchy,
annotation lists in every dialect, and a web server that also misbehaves. Or, for measurements, annotation lists of any
length with the shape of the published ones."""
_WRITE = "write the world into a folder"
_SERVE = "serve a world, or any folder of pictures, until Ctrl-C"
_LISTS = "write two annotation lists of any length with the shape of the published ones"
_ABOUT_LISTS = """Write two annotation lists, ImageNet ids and Open Images URLs, of any length and with the shape of the
published 17,609,752 rows: images per class, tags per image, open rows, confidences. The same bytes for the same seed,
rows and vocabulary. expected.json beside them says what a reader must find."""
_EPILOG = """examples:
  ml-images sample write world                 write vocabulary, lists and pictures into the folder world
  ml-images sample serve world                 serve it where its lists expect it, until Ctrl-C
  ml-images sample serve ~/photos --port 0     serve your own pictures on a free port
  ml-images sample lists --rows 1000000 --vocabulary dictionary_and_semantic_hierarchy.txt --output lists
  ml-images sample lists --rows 10000 --vocabulary world/vocabulary.txt --output lists --malformed 0.01
"""


def main(argv: Sequence[str]) -> int:
    """Run `ml-images sample` with these arguments; raises InputError for wrong ones.

    Raises StorageError when the folder cannot be written."""
    args = _parser().parse_args(argv)
    if args.action == "write":
        return _write(args.folder, args.seed, args.images, args.port)
    if args.action == "lists":
        vocabulary = parse_hierarchy(read_bytes(args.vocabulary, "vocabulary"), args.vocabulary, args.vocabulary_format)
        given = args.vocabulary, args.vocabulary_format
        return _lists(args.output, vocabulary, *given, args.rows, args.seed, args.class_counts, args.malformed)
    return _serve(args.folder, args.port)


class _Parser(argparse.ArgumentParser):
    """Every help shows the examples; wrong arguments end in one line, like every other mistake of a user."""

    def __init__(self, prog: str, description: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, epilog=_EPILOG, formatter_class=formatter)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `ml-images sample --help` shows what is accepted")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("ml-images sample", _DESCRIPTION)
    actions = parser.add_subparsers(dest="action", required=True, metavar="write|serve|lists")

    writer = actions.add_parser("write", description=_WRITE, help=_WRITE)
    writer.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder, or a sample world")
    writer.add_argument(
        "--seed", type=_whole(0, 2**32 - 1), default=SEED, help="another seed, another world (default %(default)s)"
    )
    writer.add_argument(
        "--images", type=_whole(FEWEST_IMAGES, MOST_IMAGES), default=IMAGES, help="good pictures (default %(default)s)"
    )
    writer.add_argument(
        "--port", type=_whole(1, 65535), default=PORT, help="port that the URLs in the lists name (default %(default)s)"
    )

    server = actions.add_parser("serve", description=_SERVE, help=_SERVE)
    server.add_argument("folder", type=Path, metavar="DIR", help="a folder that `write` made, or your own pictures")
    server.add_argument(
        "--port",
        type=_whole(0, 65535),
        help=f"0 takes a free one (default: the port that the world names, else {PORT})",
    )

    lists = actions.add_parser("lists", description=_ABOUT_LISTS, help=_LISTS)
    lists.add_argument("--rows", type=_whole(1, MOST_ROWS), required=True, metavar="N", help="lines of both together")
    lists.add_argument("--vocabulary", required=True, metavar="FILE", help="classes and their parents; any number")
    lists.add_argument("--vocabulary-format", default="auto", choices=get_args(Format), help="needed for pairs of ids")
    lists.add_argument(
        "--output", type=Path, default=Path("lists"), metavar="DIR", help="a new or empty folder (default %(default)s)"
    )
    lists.add_argument("--seed", type=_whole(0, 2**32 - 1), default=SEED, help="other rows (default %(default)s)")
    lists.add_argument(
        "--class-counts",
        metavar="FILE",
        help="images of each class, one integer a line, descending (default: the published curve, to 1.3 %% or "
        "three images; a drawn list follows it within about a tenth)",
    )
    lists.add_argument(
        "--malformed",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of lines that must be rejected, 0 to 0.5; as many again are odd but legal (default %(default)s)",
    )
    return parser


def _write(folder: Path, seed: int, images: int, port: int) -> int:
    try:
        expected = write(folder, seed, f"http://{HOST}:{port}/", images)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
    print(
        f"{folder}: {images} pictures of {expected['classes']} classes, {expected['lines']} lines in "
        f"{len(expected['lists'])} lists; README.txt says what is what"
    )
    print(f"serve it: ml-images sample serve {folder}")
    return 0


def _serve(folder: Path, port: int | None) -> int:
    if not folder.is_dir():
        raise InputError(f"{folder} is {'a file' if folder.exists() else 'not there'}; give a folder of pictures")
    wanted = _recorded_port(folder) if port is None else port
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            try:
                server = stack.enter_context(serve(folder, wanted))
            except OSError as error:
                raise InputError(
                    f"cannot serve on port {wanted}: {error.strerror}; --port 0 takes a free one"
                ) from error
            print(f"serving {pictures_of(folder)} at {server.url} (Ctrl-C ends it)", flush=True)
            stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _lists(
    folder: Path,
    vocabulary: Vocabulary,
    vocabulary_file: str,
    vocabulary_format: str,
    rows: int,
    seed: int,
    counts_file: str | None,
    malformed: float,
) -> int:
    if counts_file is None:
        counts = published_counts()
    else:
        counts = parse_counts(read_bytes(counts_file, "class counts"), counts_file, vocabulary.num_classes)
    processes = min(os.cpu_count() or 1, MOST_PROCESSES)
    try:
        expected = write_lists(folder, vocabulary, rows, seed, counts, malformed, processes)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
    seen = sum(images > 0 for images in expected["images_per_class"])
    megabytes = sum(made["bytes"] for made in expected["lists"].values()) / 1e6
    print(
        f"{folder}: {expected['lines']:,} lines, {megabytes:,.1f} MB; {expected['accepted']:,} rows with "
        f"{expected['labels']:,} tags of {seen:,} classes"
    )
    for name, made in expected["lists"].items():
        print(f"  {name:<36}{made['lines']:>12,} lines{sum(made['rejects'].values()):>12,} malformed")
    form = "" if vocabulary_format == "auto" else f" vocabulary_format={vocabulary_format}"
    given = f"'lists=[{folder}/*.txt]' vocabulary={vocabulary_file}{form}"
    print(f"annotate them: ml-images annotate {given} output=annotated")
    return 0


def _recorded_port(folder: Path) -> int:
    """The port in the URLs of the world in `folder`; the default one for a plain folder."""
    expected = folder / "expected.json"
    if not expected.is_file():
        return PORT
    try:
        base_url = json.loads(expected.read_bytes())["base_url"]
        return int(base_url.rstrip("/").rpartition(":")[2])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{expected} is not what `ml-images sample write` makes; name the port with --port") from error


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return read


def _share(text: str) -> float:
    """A number from 0 to 0.5."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 0.5:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 0.5, got {text!r}")
    return share
