"""train.py started by each engine with 1, 2 and 4 processes: the same steps as one process takes by itself."""

import json
import os
import runpy
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from dataset_builder import write_dataset

from ml_images.train import checkpoint

ROOT = Path(__file__).parents[2]
ROWS = 12  # of a step, whoever takes it
WORDS = ["model.name=tiny_cnn", "model.batch_norm=synchronised", "data.image_size=32", "data.decode_threads=1"]
WORDS += ["optim.lr=0.5", "schedule.warmup_epochs=0.5", "epochs=2", "loss.name=ml_images"]
HOROVODRUN = ["cluster/train.sh"]
TORCHRUN = ["bash", "-c", 'size=$1; shift; exec torchrun --standalone --nproc-per-node "$size" train.py "$@"', "ranks"]
PRIVATE = ["unshare", "--user", "--map-root-user", "--net", "bash", "-c", 'ip link set lo up; exec "$@"', "private"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("ranks") / "dataset", train=(12,) * 4, val=(8, 9))


Run = tuple[list[dict[str, Any]], dict[str, torch.Tensor]]


def words(dataset: Path, output: Path, size: int) -> list[str]:
    return [*WORDS, f"data.path={dataset}", f"output={output}", f"data.batch_size={ROWS // size}"]


def ended(output: Path) -> Run:
    """History and last tensors."""
    history = [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]
    newest = checkpoint.latest(output / "checkpoints")
    assert newest is not None
    return history, newest.tensors


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda number, handler: None)
        assert runpy.run_path(str(ROOT / "train.py"))["main"](words(dataset, output, 1)) == 0
    return ended(output)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("engine", "size"),
    [
        pytest.param(HOROVODRUN, 1, id="horovodrun-1", marks=pytest.mark.horovod),
        pytest.param(HOROVODRUN, 2, id="horovodrun-2", marks=pytest.mark.horovod),
        pytest.param(HOROVODRUN, 4, id="horovodrun-4", marks=pytest.mark.horovod),
        pytest.param(TORCHRUN, 2, id="torchrun-2"),
    ],
)
def test_any_engine_with_any_number_of_processes_takes_the_steps_of_one(
    engine: list[str], size: int, alone: Run, dataset: Path, tmp_path: Path, commands: dict[str, str]
) -> None:
    command = [*engine, str(size)]
    if engine is TORCHRUN and shutil.which("unshare"):  # its store listens on all addresses
        allowed = subprocess.run([*PRIVATE, "true"], env=os.environ, capture_output=True, check=False).returncode == 0
        command = [*(PRIVATE if allowed else []), *command]
    answer = subprocess.run(
        [*command, *words(dataset, tmp_path / "run", size)],
        env={**commands, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"4 steps x {size} ranks x {ROWS // size} images" in answer.stdout
    history, tensors = ended(tmp_path / "run")
    assert len(history) == len(alone[0]) == 2
    for record, one in zip(history, alone[0], strict=True):
        assert record["loss"] == pytest.approx(one["loss"], rel=1e-4)
        for name in ("loss", "mean_average_precision"):
            assert record["validation"][name] == pytest.approx(one["validation"][name], rel=1e-3)
    assert tensors.keys() == alone[1].keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, alone[1][name], rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
