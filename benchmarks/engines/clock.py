"""When an engine was ready, and when it was done: the line of JSON with which every engine ends.

`start_s` goes from the creation of the process to the moment when nothing but the work is left: the interpreter, the
imports and, for Spark, the session. `work_s` is the rest. The table shows both and their sum; nothing is left out.
"""

import json
import time

import psutil


class Clock:
    """Made after the imports: `ready()` where the work begins, `done()` where it ends."""

    def __init__(self) -> None:
        self._created = psutil.Process().create_time()
        self._ready = 0.0

    def ready(self) -> None:
        self._ready = time.time()

    def done(self) -> None:
        """Print {"start_s": ..., "work_s": ...} as the last line of stdout."""
        times = {"start_s": self._ready - self._created, "work_s": time.time() - self._ready}
        print("\n" + json.dumps(times), flush=True)
