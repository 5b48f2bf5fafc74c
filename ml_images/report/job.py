"""How a job says what it did: a table of counts on the console and the same in report.json beside its output."""

import time
from collections.abc import Mapping
from typing import Any

from ml_images.provenance import provenance
from ml_images.storage.paths import join
from ml_images.storage.tables import write_json


class JobReport:
    """Collects the counts of one run; `finish` prints and writes them."""

    def __init__(self, job: str, output: str, config: Mapping[str, Any]) -> None:
        self._job, self._output, self._config = job, output, config
        self._started = time.time()
        self.counts: dict[str, Mapping[str, int]] = {}

    def finish(self, **facts: Any) -> None:
        """Print every table of counts and write `<output>/report.json`."""
        seconds = time.time() - self._started
        for title, counts in self.counts.items():
            print(counts_table(title, counts))
        print(f"{self._job}: done in {seconds:.1f} s, written to {self._output}")
        content = {
            "job": self._job,
            "seconds": round(seconds, 3),
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._started)),
            "counts": self.counts,
            **facts,
            "config": self._config,
            **provenance(),
        }
        write_json(join(self._output, "report.json"), content)


def counts_table(title: str, counts: Mapping[str, int]) -> str:
    """Names and numbers in two aligned columns."""
    width = max([len(name) for name in counts] + [len(title)])
    digits = max([len(f"{count:,}") for count in counts.values()] + [5])
    lines = [f"  {name:<{width}}  {count:>{digits},}" for name, count in counts.items()]
    return "\n".join([title, *lines])
