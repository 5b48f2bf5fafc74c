"""How far all workers of a download are: a moving line on a terminal, a plain one now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from ml_images.download.progress import line
from ml_images.spark.progress import PLAIN_LINE_S, POLL_S, on_terminal


class CrawlProgress:
    """Context manager; `numbers()` gives the sums over all workers, `total` is the number of keys to be fetched."""

    def __init__(self, numbers: Callable[[], Mapping[str, int]], total: int) -> None:
        self._numbers, self._total = numbers, total
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "CrawlProgress":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        started = time.monotonic()
        moves = on_terminal()
        while not self._stop.wait(POLL_S if moves else PLAIN_LINE_S):
            told = f"download: {line(self._numbers(), self._total, time.monotonic() - started)}"
            print(f"\r\x1b[K{told}" if moves else told, end="" if moves else "\n", file=sys.stderr, flush=True)
        if moves:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
