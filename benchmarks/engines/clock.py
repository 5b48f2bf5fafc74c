"""When an engine was ready, and when it was done: the line of JSON with which every engine ends.

`start_s` goes from the creation of the process to the moment when nothing but the work is left: the interpreter, the
imports and, for Spark, the session. `work_s` is the rest. The table shows both and their sum; nothing is left out.
"""

import json
import os
import time
from pathlib import Path


class Clock:
    """`ready()` where the work begins, `done()` where it ends."""

    def __init__(self) -> None:
        # In ticks of 10 ms since boot, as CLOCK_BOOTTIME counts. Dates would be a second off: that of boot is whole.
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        self._created = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
        self._ready = 0.0

    def ready(self) -> None:
        self._ready = time.clock_gettime(time.CLOCK_BOOTTIME)

    def done(self) -> None:
        """Print {"start_s": ..., "work_s": ...} as the last line of stdout."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        print("\n" + json.dumps({"start_s": self._ready - self._created, "work_s": now - self._ready}), flush=True)
