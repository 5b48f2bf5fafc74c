"""Results of a worker, gathered and staged as parts of the table `images`."""

from dataclasses import dataclass
from time import monotonic

import pyarrow as pa
from pyspark import TaskContext

from ml_images.download.crawl import Fetched
from ml_images.download.rows import to_batch
from ml_images.options import option
from ml_images.outcomes import RETRYABLE
from ml_images.storage import tables
from ml_images.storage.paths import join

_PART_BYTES = 128 << 20  # of pictures, after which a part is written even if it has few rows


@dataclass(frozen=True)
class PartConfig:
    """When a worker puts what it has into a part. What a crash can cost at most lies in between."""

    rows: int = option(1000, "rows of the images table that a worker gathers before it writes them as one part")
    seconds: float = option(60.0, "seconds after which it writes them, however few they are")

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"part.rows must be at least 1, got {self.rows}")
        if not self.seconds > 0:
            raise ValueError(f"part.seconds must be positive, got {self.seconds}")


class ImageParts:
    """Of one attempt at a task: `part-<run>-<task>-<attempt>-<number>.parquet` in the staging folder.

    Rows that deserve another try go into parts of their own, `...-again.parquet`: they are to be replaced, and the
    parts with pictures then need not be written anew.
    """

    def __init__(self, location: str, run: str, task: int, cfg: PartConfig) -> None:
        context = TaskContext.get()
        assert context is not None, "runs in a task of Spark"
        self._staging = join(location, tables.STAGING)
        self._task = f"part-{run}-{task:06d}-"
        self._attempt = context.taskAttemptId()
        self._cfg, self._number = cfg, 0
        self._gathered: list[Fetched] = []
        self._bytes = 0  # of their pictures
        self._since = monotonic()
        self.rows = 0

    def finished(self) -> set[str]:
        """Keys that an earlier attempt at this task has finished; a stage that is run again counts attempts from 0."""
        keys = set[str]()
        for name in tables.parts(self._staging):
            if name.startswith(self._task):
                keys.update(tables.read_part(join(self._staging, name), ["key"])["key"].to_pylist())
        return keys

    def add(self, fetched: Fetched) -> None:
        """Take a result; writes a part when there are enough."""
        if not self._gathered:
            self._since = monotonic()
        self._gathered.append(fetched)
        self._bytes += len(fetched.picture.data) if fetched.picture is not None else 0
        if len(self._gathered) >= self._cfg.rows or self._bytes >= _PART_BYTES:
            self.write()

    def write_if_late(self) -> None:
        """Stage what was gathered if the first of it has waited long enough, also where nothing more comes."""
        if self._gathered and monotonic() - self._since >= self._cfg.seconds:
            self.write()

    def write(self) -> None:
        """Stage what was gathered since the last part."""
        again = [fetched for fetched in self._gathered if fetched.outcome in RETRYABLE]
        final = [fetched for fetched in self._gathered if fetched.outcome not in RETRYABLE]
        for rows, ending in ((final, ""), (again, "-again")):
            if rows:
                name = f"{self._task}{self._attempt:08d}-{self._number:06d}{ending}.parquet"
                tables.write_part(join(self._staging, name), pa.Table.from_batches([to_batch(rows)]))
        self.rows += len(self._gathered)
        self._gathered, self._bytes, self._number = [], 0, self._number + 1
