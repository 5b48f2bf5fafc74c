"""Loops in turns: real processes, of which those of one loop run at a time."""

import json
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("psutil")

from bench import ENGINES, Failed
from training_turns import Loop, take_turns

# Each step tells when it was at work; `ticker` is a process that the loop has started, and is at work all the time.
LOOP = """
import json, subprocess, sys, time
from pathlib import Path
from steps_log import StepsLog
name, steps, count = sys.argv[1:]
tick = "import sys, time\\nwhile True: print(time.monotonic(), flush=True); time.sleep(0.005)"
ticker = subprocess.Popen([sys.executable, "-c", tick], stdout=open(f"{name}.ticks", "w"))
log = StepsLog(Path(steps), 1, 2)
for number in range(int(count)):
    began = time.monotonic()
    time.sleep(0.05)
    with open("all", "a") as out:
        out.write(json.dumps([name, began, time.monotonic()]) + "\\n")
    log.done(float(number), 0.01)
ticker.kill()
"""


def loop(name: str, count: int, folder: Path) -> Loop:
    steps = folder / f"{name}.jsonl"
    return Loop(name, [sys.executable, "-c", LOOP, name, str(steps), str(count)], steps)


def test_one_loop_works_and_all_that_the_others_have_started_stands_still(tmp_path: Path) -> None:
    loops = [loop("a", 5, tmp_path), loop("b", 3, tmp_path)]
    steps = take_turns(loops, {"PYTHONPATH": str(ENGINES)})
    worked = [json.loads(line) for line in (tmp_path / "all").read_text().splitlines()]
    assert "".join(name for name, *_ in worked) == "abaabbaa"  # one warm step each, then turns of two
    for name in "ab":
        ticks = [float(line) for line in (tmp_path / f"{name}.ticks").read_text().splitlines()]
        others = [(began, ended) for other, began, ended in worked if other != name]
        assert ticks
        assert not [tick for tick in ticks for began, ended in others if began < tick < ended]
    assert [step.loss for step in steps["a"]] == [0, 1, 2, 3, 4]
    assert [step.warm for step in steps["b"]] == [True, False, False]
    assert all(step.waited_s == 0.01 for step in steps["a"])


def test_a_pause_is_no_part_of_a_step(tmp_path: Path) -> None:
    steps = take_turns([loop("a", 5, tmp_path), loop("b", 5, tmp_path)], {"PYTHONPATH": str(ENGINES)})
    worked = [json.loads(line) for line in (tmp_path / "all").read_text().splitlines()]
    for name in "ab":
        at_work = [ended - began for other, began, ended in worked if other == name]
        lasted = [step.step_s for step in steps[name]]
        paused = worked[-1][2] - worked[0][1] - sum(at_work)
        assert sum(lasted) - sum(at_work) < paused / 2


def test_a_loop_that_fails_ends_the_others_and_its_log_is_named(tmp_path: Path) -> None:
    broken = Loop("broken", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path / "broken.jsonl")
    with pytest.raises(Failed, match=r"broken: exit code 3, see .*broken\.log"):
        take_turns([loop("a", 5, tmp_path), broken], {"PYTHONPATH": str(ENGINES)})
    assert (tmp_path / "broken.log").read_text() == "why\n"
    before = (tmp_path / "a.ticks").read_text()
    time.sleep(0.1)
    assert before == (tmp_path / "a.ticks").read_text()
