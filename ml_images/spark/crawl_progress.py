"""How far all workers that fetch or extract are: a moving line on a terminal, a plain one now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from ml_images.download.progress import UNDER_WAY, line
from ml_images.spark.progress import PLAIN_LINE_S, POLL_S, on_terminal


class CrawlProgress:
    """Context manager; `numbers()` gives the sums over all workers, `total` is the number of keys that are asked for,
    `under_way` what of download.progress.OF_THE_MOMENT the line tells."""

    def __init__(
        self, title: str, numbers: Callable[[], Mapping[str, int]], total: int, under_way: Sequence[str] = UNDER_WAY
    ) -> None:
        self._title, self._numbers, self._total, self._under_way = title, numbers, total, under_way
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
            told = line(self._numbers(), self._total, time.monotonic() - started, self._under_way)
            told = f"{self._title}: {told}"
            print(f"\r\x1b[K{told}" if moves else told, end="" if moves else "\n", file=sys.stderr, flush=True)
        if moves:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
