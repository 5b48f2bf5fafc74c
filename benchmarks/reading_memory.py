"""Memory of a process tree with shared pages counted once, while somebody else runs it.

Workers that are forked share most of what they hold; adding up resident sizes counts that once for each of them. The
kernel's proportional set size (PSS) of all processes adds up to what they really take.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

import psutil

_EVERY_S = 0.5  # reading it takes the kernel some ms a process


class SharedOnce:
    """A context in which the highest sum of PSS over all grandchildren of this process is kept: of what measure.py
    runs, without measure.py itself."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "SharedOnce":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self.peak_mib = max(self.peak_mib, sum(map(_pss_mib, _grandchildren())))


def _grandchildren() -> list[int]:
    with suppress(psutil.NoSuchProcess):
        me = os.getpid()
        return [process.pid for process in psutil.Process().children(recursive=True) if process.ppid() != me]
    return []  # one ended while we looked


def _pss_mib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
