"""The engines that time train.py run it whole: its own loop, journal and report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_builder import write_dataset

pytest.importorskip("psutil")

from bench import ENGINES
from training_turns import Loop, take_turns


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of train.py: five steps."""
    dataset = write_dataset(tmp_path / "dataset", train=(12,) * 5, val=(6,))
    tiny = ["model.name=tiny_cnn", "data.image_size=32", "data.batch_size=12", "schedule.warmup_epochs=0", "epochs=1"]
    return [f"data.path={dataset}", f"output={tmp_path / 'run'}", *tiny]


def test_every_step_of_training_is_timed(options: list[str], tmp_path: Path) -> None:
    steps = tmp_path / "steps.jsonl"
    command = [sys.executable, str(ENGINES / "train_ours.py"), str(steps), "1", "2", *options]
    (taken,) = take_turns([Loop("ours", command, steps)], {}).values()
    assert [step.warm for step in taken] == [True, False, False, False, False]
    assert all(0 <= step.waited_s <= step.step_s for step in taken)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["steps"] == 5
    assert report["history"][0]["loss"] == pytest.approx(sum(step.loss for step in taken) / 5)
    assert not list((tmp_path / "run").glob("checkpoints/*.safetensors"))


def test_every_step_of_training_has_a_bare_one_beside_it(options: list[str], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    command = [sys.executable, str(ENGINES / "train_overhead.py"), str(pairs), "2", "12", "6", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=250)
    told = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [pair["warm"] for pair in told] == [True, True, False, False, False]
    assert all(pair["ours_s"] > 0 and pair["bare_s"] > 0 for pair in told)
