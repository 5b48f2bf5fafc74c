"""The soak of benchmarks/soak_download.py, small: every fault, two workers, one executor killed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_rows_requests_and_limits_hold_while_an_executor_is_killed(commands: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "soak_download.py"), "--folder", str(tmp_path)]
    small = ["--urls", "600", "--kills", "1", "--kill-every", "3", "--requests-per-s", "60"]
    answer = subprocess.run([*command, *small], env=commands, capture_output=True, text=True, timeout=380, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
