"""The measuring process sees the whole tree of what it measures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil")

MEASURE = Path(__file__).parents[2] / "benchmarks" / "measure.py"

# A child that outlives its parent, as Spark's JVM does, holds 200 MB.
ORPHAN = "held = bytearray(200 << 20); import time; time.sleep(0.5)"
COMMAND = f"""import subprocess, sys
subprocess.Popen([sys.executable, "-c", {ORPHAN!r}], stdout=subprocess.DEVNULL)
print("first"); print("last"); sys.exit(7)"""


def test_what_a_command_leaves_behind_is_waited_for_and_counted() -> None:
    wrapped = [sys.executable, str(MEASURE), "1", sys.executable, "-c", COMMAND]
    answer = subprocess.run(wrapped, check=True, capture_output=True, text=True, timeout=60)
    measured = json.loads(answer.stdout)
    assert measured["exit_code"] == 7
    assert measured["last_line"] == "last"
    assert measured["peak_process_mib"] > 200
    assert measured["peak_worker_mib"] is None
