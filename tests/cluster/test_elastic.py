"""cluster/train.sh when ranks are lost, come back, or keep the others waiting: real processes, killed for good."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from dataset_builder import write_dataset

from ml_images.train import checkpoint

ROOT = Path(__file__).parents[2]
ROWS, BATCH_SIZE, EPOCHS, LR = 192, 4, 4, 0.5
WORDS = [
    f"epochs={EPOCHS}",
    "model.name=tiny_cnn",
    "data.image_size=32",
    f"data.batch_size={BATCH_SIZE}",
    "data.decode_threads=1",
    f"optim.lr={LR}",
    "schedule.warmup_epochs=0",
    "schedule.name=steps",
    "schedule.decay_every_epochs=2",
    "elastic.commit_every_steps=4",
]

Note = dict[str, Any]
Start = Callable[..., "Job"]


class Job:
    """cluster/train.sh with `processes` ranks, whose train.py notes its steps."""

    def __init__(self, folder: Path, processes: int, environment: dict[str, str]) -> None:
        self.output, self.notes = folder / "output", folder / "notes"
        self.notes.mkdir()
        shutil.copytree(ROOT / "cluster", folder / "checkout" / "cluster")
        shutil.copy(Path(__file__).with_name("watched_train.py"), folder / "checkout" / "train.py")
        data = write_dataset(folder / "dataset", train=(24,) * 8, val=(4, 4))
        assert ROWS == 8 * 24
        script = folder / "checkout" / "cluster" / "train.sh"
        told = {"WATCH_TRAIN": str(ROOT / "train.py"), "WATCH_NOTES": str(self.notes), "OMP_NUM_THREADS": "1"}
        self._said = (folder / "said").open("w+")
        self.process = subprocess.Popen(
            [script, str(processes), *WORDS, f"data.path={data}", f"output={self.output}"],
            env={**environment, **told},
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def read(self) -> dict[int, list[Note]]:
        """The notes of each process, by its id; a line that is being written is left out."""
        found = {}
        for path in self.notes.iterdir():
            lines = path.read_text().split("\n")[:-1]
            found[int(path.stem)] = [json.loads(line) for line in lines]
        return found

    def wait_for(self, what: str, seen: Callable[[dict[int, list[Note]]], bool]) -> None:
        deadline = time.monotonic() + 120
        while not seen(self.read()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{what}: not within 120 s\n{self.said()}"
            time.sleep(0.05)

    def process_of(self, rank: int) -> int:
        """The id of the process that has last noted a step as `rank`."""
        notes = self.read()
        return max(
            (process for process in notes if notes[process][-1]["rank"] == rank),
            key=lambda process: notes[process][-1]["at"],
        )

    def said(self) -> str:
        return Path(self._said.name).read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # horovodrun ends its processes, then
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._said.close()


@pytest.fixture
def start(tmp_path: Path, commands: dict[str, str]) -> Iterator[Start]:
    jobs: list[Job] = []

    def make(processes: int, **environment: str) -> Job:
        jobs.append(Job(tmp_path, processes, {**commands, **environment}))
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()


def newest(notes: dict[int, list[Note]]) -> Note:
    return max((told[-1] for told in notes.values() if told), key=lambda note: note["at"], default={})


def groups_of(notes: dict[int, list[Note]]) -> list[list[Note]]:
    """The steps of all ranks, from one change of the number of ranks to the next."""
    in_order = sorted((note for told in notes.values() for note in told), key=lambda note: note["at"])
    return [list(group) for _, group in groupby(in_order, key=lambda note: note["size"])]


def place_of(note: Note) -> tuple[int, int]:
    return note["epoch"], note["place"]


@pytest.mark.horovod
@pytest.mark.timeout(400)
def test_a_run_goes_on_without_a_killed_rank_0_and_with_the_one_that_comes_for_it(start: Start) -> None:
    job = start(3, MIN_NP="2", COOLDOWN="1 2", WATCH_STEP_S="0.12")
    job.wait_for("three ranks", lambda notes: newest(notes).get("step", 0) >= 6)
    lost, killed_at = job.process_of(0), time.time()
    os.kill(lost, signal.SIGKILL)
    job.wait_for("two ranks", lambda notes: newest(notes).get("size") == 2)
    job.wait_for("three ranks again", lambda notes: newest(notes).get("size") == 3)
    assert job.process.wait(120) == 0, job.said()
    notes, said = job.read(), job.said()
    assert "Process 0 exit with status code 137." in said
    assert len(notes) == 4 and notes[lost][-1]["size"] == 3

    groups = groups_of(notes)
    assert [group[0]["size"] for group in groups] == [3, 2, 3]
    assert groups[1][0]["at"] - killed_at < 15  # 2 s; a loaded machine takes longer
    starts, ends = [place_of(group[0]) for group in groups], [place_of(group[-1]) for group in groups]
    assert starts[0] == (0, 0) < starts[1] <= ends[0] < ends[1] < starts[2]
    undone = {place_of(note) for note in groups[0] if place_of(note) >= starts[1]}
    assert len(undone) <= 4  # steps, since the last commit; the ranks that come later undo nothing

    # What was not undone: each row once an epoch, but for those that are no whole step for the ranks at its end.
    kept = [note for note in groups[0] if place_of(note) < starts[1]] + groups[1] + groups[2]
    for epoch in range(EPOCHS):
        seen = Counter(key for note in kept if note["epoch"] == epoch for key in note["keys"])
        last = max(number for number in range(3) if starts[number][0] <= epoch <= ends[number][0])
        begun = starts[last][1] if starts[last][0] == epoch else 0
        assert set(seen.values()) == {1}
        left = ROWS - len(seen)
        if last < 2 and starts[last + 1] == (epoch + 1, 0):  # who came may have found less than a step of theirs left
            assert left < BATCH_SIZE * groups[last + 1][0]["size"]
        else:
            assert left == (ROWS - begun) % (BATCH_SIZE * groups[last][0]["size"])
    for note in kept:
        assert note["lr"] == pytest.approx(LR * note["size"] * BATCH_SIZE / 256 * 0.1 ** (note["epoch"] // 2))

    assert "the ranks have changed: 2 go on" in said and "the ranks have changed: 3 go on" in said
    assert json.loads((job.output / "report.json").read_text())["ranks"] == 3
    history = [json.loads(line) for line in (job.output / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    saved = checkpoint.latest(job.output / "checkpoints")
    assert saved is not None and saved.position.epoch == EPOCHS
    assert saved.position.step == history[-1]["step"] == groups[2][-1]["step"] + 1


@pytest.mark.horovod
def test_a_rank_that_keeps_the_others_waiting_is_named_and_ends_the_job(start: Start) -> None:
    job = start(2, WATCH_HANG="1", WATCH_STEP_S="0", STALL_WARNING_S="1", STALL_SHUTDOWN_S="2")
    assert job.process.wait(120) != 0
    said = job.said()
    assert re.search(r"Missing ranks:\n\[0\]<stderr>:1!: \[allreduce.step\]", said), said
    assert "train.py: rank 0 of 2 has lost touch with others" in said
    assert {len(told) for told in job.read().values()} == {2}


def test_each_process_of_one_machine_is_a_host_of_its_own_that_is_this_machine() -> None:
    hosts = discover("--local", "3")
    assert hosts == ["127.0.0.1:1", "127.0.0.01:1", "127.0.0.001:1"]
    assert {socket.gethostbyname(host.partition(":")[0]) for host in hosts} == {"127.0.0.1"}


def test_hosts_are_found_as_long_as_they_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.2", 0)) as other:
        port = str(server.getsockname()[1])
        file = tmp_path / "hosts"
        file.write_text("# ours\n127.0.0.1:8\n127.0.0.2:4 # nobody there at this port\n\n")
        assert discover(str(file), SSH_PORT=port) == ["127.0.0.1:8"]
        assert discover("127.0.0.1:8,127.0.0.2:4", SSH_PORT=port) == ["127.0.0.1:8"]
        assert discover(str(file), SSH_PORT=str(other.getsockname()[1])) == ["127.0.0.2:4"]
        file.write_text("")
        assert discover(str(file), SSH_PORT=port) == []


def discover(*words: str, **environment: str) -> list[str]:
    command = [ROOT / "cluster" / "discover.sh", *words]
    answer = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return answer.stdout.split()
