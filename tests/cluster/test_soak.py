"""The soak of benchmarks/soak_download.py, small: every fault, and one kill of each kind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_rows_requests_and_limits_hold_whatever_is_killed(commands: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "soak_download.py"), "--folder", str(tmp_path)]
    small = ["--urls", "600", "--kills", "4", "--kill-every", "2", "--driver-kills", "1", "--deadline-s", "4"]
    small += ["--requests-per-s", "20", "--part-rows", "20", "--in-flight", "16"]
    answer = subprocess.run([*command, *small], env=commands, capture_output=True, text=True, timeout=380, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for kind in ("Python worker", "decoder", "executor", "node", "driver"):
        assert f"{kind} 1x" in answer.stdout
