"""train.py as a user starts it: plainly, and by horovodrun in a network of its own (it binds to all interfaces)."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "train"))

from dataset_builder import write_dataset  # noqa: E402

from ml_images import entry  # noqa: E402

TINY = ["model.name=tiny_cnn", "data.image_size=32", "data.batch_size=12", "schedule.warmup_epochs=0.5", "optim.lr=0.5"]
HOROVODRUN = Path(sys.executable).parent / "horovodrun"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", train=(24,) * 8, val=(12, 12))


@pytest.fixture(scope="module")
def ranks() -> list[str]:
    """The command before `-np N python ...`; in a network of its own where the kernel allows it."""
    private = ["unshare", "-rn", "bash", "-c", 'ip link set lo up; exec "$@"', "private"]
    allowed = shutil.which("unshare") and subprocess.run([*private, "true"], check=False).returncode == 0
    return [*(private if allowed else []), str(HOROVODRUN), "--gloo"]


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(command: list[str]) -> tuple[int, str]:
    process = start(command)
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def plain(*words: str) -> tuple[int, str]:
    return finish([sys.executable, "train.py", *words])


def report(run: Path) -> dict[str, object]:
    return json.loads((run / "report.json").read_text())  # type: ignore[no-any-return]


def test_one_process_trains_reports_and_has_nothing_left_to_do(dataset: Path, tmp_path: Path) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path / 'run'}", "epochs=4", *TINY]
    code, output = plain(*words)
    assert code == 0, output
    assert "192 rows = 16 steps x 1 ranks x 12 images + 0 left over" in output
    assert "64 steps" in output
    told = report(tmp_path / "run")
    assert (told["steps"], told["epochs"], told["ranks"]) == (64, 4, 1)
    validation = told["validation"]
    assert isinstance(validation, dict)
    assert validation["mean_average_precision"] > 0.9 > 2 * validation["prior"]
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    code, output = plain(*words)
    assert code == 0, output
    assert report(tmp_path / "run")["steps"] == 64


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.path=nowhere"], "train.py: data.path: 'nowhere' is missing, expected a data set folder"),
        (["epochs=0"], "train.py: epochs must be >= 1, got 0"),
        (["data.batch_size=500"], "train.py: data.batch_size=500 is more than the 192 rows"),
        (["output=README-like"], "train.py: output=README-like is a file, expected a folder"),
        (["model.nam=x"], "train.py: unknown option 'model.nam'"),
    ],
)
def test_wrong_input_ends_with_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dataset: Path,
    tmp_path: Path,
    words: list[str],
    line: str,
) -> None:
    (tmp_path / "README-like").touch()
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(ROOT / "train.py"))["main"]
    words = [f"data.path={dataset}", f"output={tmp_path / 'run'}", *TINY, *words]
    with pytest.raises(SystemExit) as ended:
        entry.run(main, words, "train.py")
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert said.startswith(line)


def test_a_loss_that_explodes_ends_with_code_1_and_the_step(dataset: Path, tmp_path: Path) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path}/run", "epochs=3", *TINY, "optim.lr=1e30"]
    code, output = plain(*words)
    assert code == 1
    assert "not finite" in output
    assert "at step " in output or "after step " in output
    assert "Traceback" not in output


def test_sigterm_saves_the_step_and_the_same_command_goes_on(dataset: Path, tmp_path: Path) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path}/run", "epochs=60", *TINY]
    process = start([sys.executable, "train.py", *words])
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step "):
            process.send_signal(signal.SIGTERM)
            break
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped after step" in output
    stopped = int(output.rpartition("stopped after step ")[2].split(";")[0])
    code, output = plain(*words, "epochs=3" if stopped < 32 else "epochs=60")
    assert code == 0, output
    assert f"from step {stopped};" in output


@pytest.mark.horovod
def test_eight_ranks_make_equal_steps_see_every_row_once_and_agree(ranks: list[str], tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", train=(24, 23, 24, 24, 24, 25, 24, 24, 24), val=(4, 5, 4))
    (tmp_path / "answers").mkdir()
    probe = str(ROOT / "tests" / "train" / "horovod_probe.py")
    hosts = "localhost:4,127.0.0.1:4"  # two machines, as far as Horovod can see
    code, output = finish(
        [*ranks, "-np", "8", "-H", hosts, sys.executable, probe, str(root), str(tmp_path / "answers")]
    )
    assert code == 0, output
    told = [json.loads((tmp_path / "answers" / f"rank-{rank}.json").read_text()) for rank in range(8)]
    assert {answer["steps"] for answer in told} == {2 * (23 // 5)}
    assert len({answer["digest"] for answer in told}) == 1
    assert len({answer["map"] for answer in told}) == 1
    assert all(answer["differ"] == [7] for answer in told)
    for epoch in range(2):
        keys = Counter(key for answer in told for key in answer["keys"][epoch])
        assert set(keys.values()) == {1}
        assert len(keys) == 216 - told[0]["remainder"] == 8 * 5 * 4
    assert all(answer["sum"] == [28, 8] for answer in told)
    assert all(answer["gather"] == [[rank, rank] for rank in range(8) for _ in range(rank % 3)] for answer in told)
    assert all(answer["json"] == {"from": 0, "text": "é" * 9} for answer in told)


@pytest.mark.horovod
def test_a_killed_rank_ends_the_job_and_a_rerun_ends_like_one_run(
    ranks: list[str], dataset: Path, tmp_path: Path
) -> None:
    def command(run: str) -> list[str]:
        words = [f"data.path={dataset}", f"output={tmp_path / run}", "epochs=12", "checkpoint_every_steps=3", *TINY]
        return [*ranks, "-np", "2", "-H", "localhost:2", sys.executable, "train.py", *words]

    process = start(command("killed"))
    wait_for_checkpoint(tmp_path / "killed", 6)
    began = time.monotonic()
    os.kill(rank_1_of(str(tmp_path / "killed")), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - began < 20
    assert not (tmp_path / "killed" / "report.json").exists(), output

    code, output = finish(command("killed"))
    assert code == 0, output
    assert "from step 0;" not in output
    code, output = finish(command("whole"))
    assert code == 0, output
    killed, whole = report(tmp_path / "killed"), report(tmp_path / "whole")
    assert killed["steps"] == whole["steps"] == 12 * 8
    assert killed["ranks"] == 2
    assert killed["validation"] == whole["validation"]
    final = "checkpoints/step-0000000096.safetensors"
    assert digest_of(tmp_path / "killed" / final) == digest_of(tmp_path / "whole" / final)


def wait_for_checkpoint(run: Path, step: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        found = sorted((run / "checkpoints").glob("step-*.safetensors"))
        if found and found[-1].name >= f"step-{step:010d}.safetensors":
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step} within 90 s")


def rank_1_of(output: str) -> int:
    """The process id of rank 1 of the run that writes to `output`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"output={output}".encode() in words and words[1] == b"train.py" and b"HOROVOD_RANK=1" in environment:
            return int(process.name)
    raise AssertionError("rank 1 is not running")


def digest_of(path: Path) -> str:
    from ml_images.train import checkpoint

    about = checkpoint._about(path)
    return str(about["digest"])
