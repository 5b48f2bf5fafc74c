import json
import subprocess
import sys
import threading
from pathlib import Path

import checkpoint_probe
import pytest
import torch

from ml_images.errors import StorageError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.checkpoint_writer import CheckpointWriter


def of(step: int, *tensors: torch.Tensor) -> Checkpoint:
    named = {f"model.{number}": tensor for number, tensor in enumerate(tensors)}
    return Checkpoint(Position(step, step, 100, {"epoch": 0, "place": step}), None, {"epochs": 1}, named)


class Gate:
    """checkpoint.save, which waits until it is let go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun, self._save = threading.Event(), 0, checkpoint.save
        monkeypatch.setattr(checkpoint, "save", self.save)

    def save(self, folder: Path, found: Checkpoint, keep: int) -> Path:
        self.begun += 1
        assert self.open.wait(20)
        return self._save(folder, found, keep)


def test_training_goes_on_while_a_checkpoint_is_written_and_does_not_reach_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(tmp_path, keep=2)
    weights = torch.randn(3, 4, 2, 2).contiguous(memory_format=torch.channels_last)
    before, count = weights.clone(), torch.tensor(5)
    writer.save(of(1, weights, count, weights))
    weights.zero_()
    count += 1
    writer.check()
    assert list(tmp_path.iterdir()) == []
    gate.open.set()
    writer.wait()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.position.step == 1
    assert all(torch.equal(found.tensors[f"model.{n}"], before) for n in (0, 2))
    assert int(found.tensors["model.1"]) == 5


def test_a_save_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, writer = Gate(monkeypatch), CheckpointWriter(tmp_path, keep=2)
    writer.save(of(1, torch.zeros(2)))
    weights = torch.ones(2)
    second = threading.Thread(target=writer.save, args=[of(2, weights)])
    second.start()
    second.join(0.1)
    assert second.is_alive() and gate.begun == 1
    weights.fill_(7)  # not copied yet
    gate.open.set()
    second.join()
    writer.wait()
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == [
        f"step-{step:010d}.safetensors" for step in (1, 2)
    ]
    assert checkpoint.load(checkpoint.list_checkpoints(tmp_path)[1]).tensors["model.0"].tolist() == [7, 7]


@pytest.mark.parametrize("call", ["check", "save", "wait"])
def test_what_the_disk_refuses_is_raised_once_by_the_next_call(tmp_path: Path, call: str) -> None:
    (tmp_path / "file").touch()
    writer = CheckpointWriter(tmp_path / "file" / "below", keep=2)
    writer.save(of(1, torch.zeros(2)))
    writer._thread.submit(lambda: None).result()  # the write is over
    calls = {"check": writer.check, "save": lambda: writer.save(of(2, torch.zeros(2))), "wait": writer.wait}
    with pytest.raises(StorageError, match=r"^cannot write .*step-0000000001.safetensors: Not a directory$"):
        calls[call]()
    writer.check()
    writer.wait()


def test_kill_9_at_any_moment_of_a_write_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    command = [sys.executable, checkpoint_probe.__file__, str(tmp_path), "10"]
    run = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert run.returncode == 1, run.stderr  # as it says
    seen = json.loads(run.stdout)
    steps = [one["step"] for one in seen]
    assert steps == sorted(steps) and steps[-1] >= 10
    assert any(name.startswith("unfinished/") for one in seen for name in one["files"])  # killed in the middle of one
    assert not any(name.endswith(".unreadable") for one in seen for name in one["files"])
    # What was left over went with the last save, for which the process waited before it ended.
    kept = [f"step-{step:010d}.safetensors" for step in (steps[-1], steps[-1] + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", *kept]
