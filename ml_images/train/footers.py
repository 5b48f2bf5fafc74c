"""Footers of the data set's files that were read last: parsing one for each row group took a third of reading it."""

import threading

import pyarrow.parquet as pq

KEPT = 16  # of 0.2 MB for a file of 60 row groups; on an object store each saves two requests


class Footers:
    """The footers of the KEPT files that were opened last, by name; threads may share it."""

    def __init__(self) -> None:
        self._kept: dict[str, pq.FileMetaData] = {}
        self._lock = threading.Lock()

    def get(self, file: str) -> pq.FileMetaData | None:
        return self._kept.get(file)

    def keep(self, file: str, footer: pq.FileMetaData) -> None:
        """As the latest; the one that was kept longest goes."""
        with self._lock:
            self._kept.pop(file, None)
            self._kept[file] = footer
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
