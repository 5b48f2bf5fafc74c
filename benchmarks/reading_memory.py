"""Memory of a process tree with shared pages counted once, while somebody else runs it.

Workers that are forked share most of what they hold; adding up resident sizes counts that once for each of them. The
kernel's proportional set size (PSS) shares pages out to all who have them: right for what is no file, which nobody
outside of the tree has, but wrong for libraries, of which this process and measure.py have some too: of those the most
that any process of the tree has of a part of a file counts.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_EVERY_S = 0.5  # reading it takes the kernel some ms a process


class SharedOnce:
    """A context in which the highest memory of all grandchildren of this process together is kept: of what measure.py
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
            self.peak_mib = max(self.peak_mib, _together_mib(_grandchildren()))


def _grandchildren() -> list[int]:
    with suppress(psutil.NoSuchProcess):
        me = os.getpid()
        return [process.pid for process in psutil.Process().children(recursive=True) if process.ppid() != me]
    return []  # one ended while we looked


def _together_mib(processes: Iterable[int]) -> float:
    kib, of_files = 0, defaultdict[tuple[str, str], int](int)
    for process in processes:
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            maps = Path(f"/proc/{process}/smaps").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        kib += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        for part, held in _parts_of_files(maps):
            of_files[part] = max(of_files[part], held)
    return (kib + sum(of_files.values())) / 1024


def _parts_of_files(maps: str) -> Iterator[tuple[tuple[str, str], int]]:
    """((path, offset), KiB of it that are in memory and as they lie in the file) of each mapped part of a file."""
    part, resident = ("", ""), 0
    for line in maps.splitlines():
        words = line.split()
        if words[0] == "Rss:":
            resident = int(words[1])
        elif words[0] == "Anonymous:":
            if part[0].startswith("/") and not part[0].startswith("/dev/"):  # shared memory is told as such
                yield part, resident - int(words[1])
        elif not words[0].endswith(":"):
            part = (words[5], words[2]) if len(words) > 5 else ("", "")
