"""The options that all benchmarks of engines side by side have."""

import argparse
from pathlib import Path

from measurements import ROOT


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """How often, and on what."""
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the fastest is quoted (default %(default)s)")
    parser.add_argument("--cores", type=int, default=2, help="cores for every engine (default %(default)s)")


def add_places(parser: argparse.ArgumentParser, folder: str, holds: str) -> None:
    """Where inputs and outputs go, below runs/, and where the report."""
    told = f"{holds} (default %(default)s)"
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / folder, help=told)
    told = "where the report goes (default %(default)s)"
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help=told)
