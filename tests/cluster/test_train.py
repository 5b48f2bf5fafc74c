"""cluster/train.sh and the laptop-sized training configuration, on the data set of the sample chain."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.horovod
@pytest.mark.timeout(240)
def test_the_smoke_configuration_trains_resnet_101_on_two_processes(
    chain: Any, commands: dict[str, str], tmp_path: Path
) -> None:
    words = ["conf/smoke/train.yaml", f"data.path={chain.materialize}/dataset", f"output={tmp_path}/run"]
    answer = subprocess.run(
        [ROOT / "cluster" / "train.sh", "2", *words, "epochs=1", "schedule.warmup_epochs=0"],
        env=commands,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 steps x 2 ranks x 32 images" in answer.stdout
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["steps"], report["ranks"], report["num_classes"]) == (1, 2, 44)
    assert 0 < report["validation"]["mean_average_precision"] <= 1


def test_without_a_number_of_processes_the_script_says_how_it_is_called(commands: dict[str, str]) -> None:
    answer = subprocess.run([ROOT / "cluster" / "train.sh"], env=commands, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "cluster/train.sh NUM_PROCESSES" in answer.stderr
