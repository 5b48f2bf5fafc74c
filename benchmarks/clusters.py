"""A standalone cluster of Spark on this machine, for as long as a block of code runs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = Path(__file__).parents[1] / "cluster" / "standalone.sh"


@contextmanager
def standalone(folder: Path, workers: int) -> Iterator[str]:
    """The URL of its master; logs in `folder`."""
    started = subprocess.run([_SCRIPT, "start", folder, str(workers)], check=True, stdout=subprocess.PIPE, text=True)
    try:
        yield started.stdout.strip()
    finally:
        subprocess.run([_SCRIPT, "stop", folder], check=True)
