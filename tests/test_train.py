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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dataset_builder import write_dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ml_images import entry
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.storage import tables
from ml_images.train import checkpoint
from ml_images.train.run_folder import RunFolder

ROOT = Path(__file__).parents[1]

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


Plain = Callable[..., tuple[int, str, str]]


@pytest.fixture
def plain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Plain:
    """train.py in this process, which saves the imports: words -> exit code, stdout, stderr."""
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    main = runpy.run_path(str(ROOT / "train.py"))["main"]

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            entry.run(main, words, "train.py")
        return int(str(ended.value.code)), *capsys.readouterr()

    return run


def history(run: Path) -> list[dict[str, Any]]:
    """What history.jsonl says, apart from how long it took."""
    records = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    timed = {"elapsed_s", "images_per_s", "waited_s", "reading_s"}
    return [{name: record[name] for name in record.keys() - timed} for record in records]


def report(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "report.json").read_text())
    return content


def test_one_process_trains_reports_and_has_nothing_left_to_do(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path / 'run'}", "epochs=4", *TINY]
    code, output, said = plain(*words)
    assert code == 0, said
    assert "192 rows = 16 steps x 1 ranks x 12 images + 0 left over" in output
    assert "64 steps" in output
    told = report(tmp_path / "run")
    assert (told["steps"], told["epochs"], told["ranks"]) == (64, 4, 1)
    validation = told["validation"]
    assert isinstance(validation, dict)
    assert validation["mean_average_precision"] > 0.9 > 2 * validation["prior"]
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert plain(*words)[0] == 0
    assert report(tmp_path / "run")["steps"] == 64
    assert [record["epoch"] for record in history(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_run_in_which_no_class_can_be_scored_says_so_and_its_files_are_json(plain: Plain, tmp_path: Path) -> None:
    """One validation picture: its class is without a negative, the others are without a positive."""
    dataset, run = write_dataset(tmp_path / "data", train=(24,), val=(1,)), tmp_path / "run"
    text = "".join(f"n0000000{number}\t-1\tc{number}, c\n" for number in range(6))
    tables.write_part(f"{dataset}/_vocabulary", to_table(parse_vocabulary(text.encode(), "v")))
    code, output, said = plain(f"data.path={dataset}", f"output={run}", "epochs=1", *TINY)
    assert code == 0, said
    assert "no class can be scored: of 6, 4 are without a positive image, 1 without a negative one, 1 without" in output
    last = run / "checkpoints" / "step-0000000002.safetensors"
    assert f"there is no best.safetensors: the last checkpoint is {last}" in output
    for file in (run / "report.json", run / "history.jsonl"):
        assert "NaN" not in file.read_text()
    assert report(run)["validation"]["mean_average_precision"] is None
    assert checkpoint.load(last).class_names == ["c0", "c1", "c2", "c3", "c4", "c5"]


def test_both_readers_train_to_the_same_loss(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    for reader in ("arrow", "petastorm"):
        words = [f"data.path={dataset}", f"output={tmp_path / reader}", "epochs=2", *TINY, f"data.reader={reader}"]
        code, _, said = plain(*words)
        assert code == 0, said
    assert history(tmp_path / "arrow") == history(tmp_path / "petastorm")
    final = "checkpoints/step-0000000032.safetensors"
    assert digest_of(tmp_path / "arrow" / final) == digest_of(tmp_path / "petastorm" / final)


def test_a_run_cut_off_within_an_epoch_goes_on_with_the_rows_that_are_left_and_another_batch_size(
    plain: Plain, dataset: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [f"data.path={dataset}", f"output={run}", *TINY, "checkpoint_every_steps=10", "epochs=2"]
    assert plain(*words, "keep_checkpoints=9")[0] == 0
    for path in checkpoint.list_checkpoints(run / "checkpoints"):
        if path.name > "step-0000000010.safetensors":
            path.unlink()
    code, output, said = plain(*words, "data.batch_size=25")
    assert code == 0, said
    assert "192 rows = 7 steps x 1 ranks x 25 images + 17 left over" in output
    assert "epoch 1 goes on behind 120 rows: 72 rows = 2 steps + 22 left over" in output
    assert "from step 10;" in output
    assert [record["step"] for record in history(run)] == [12, 19]


def test_a_run_goes_on_with_fewer_steps_an_epoch_and_loses_nothing(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [f"data.path={dataset}", f"output={run}", *TINY, "checkpoint_every_steps=2"]
    assert plain(*words, "epochs=2")[0] == 0
    code, output, said = plain(*words, "epochs=4", "data.batch_size=24")
    assert code == 0, said
    assert "epochs=4: 48 steps, from step 32;" in output
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    assert (newest.position.step, newest.position.epoch) == (2 * 16 + 2 * 8, 4)
    assert [(record["epoch"], record["step"]) for record in history(run)] == [(1, 16), (2, 32), (3, 40), (4, 48)]
    assert report(run)["steps"] == 48


def test_a_run_cut_off_within_an_epoch_goes_on_as_it_was_or_not_at_all(
    plain: Plain, dataset: Path, tmp_path: Path
) -> None:
    def words(run: str) -> list[str]:
        return [f"data.path={dataset}", f"output={tmp_path / run}", *TINY, "checkpoint_every_steps=10", "epochs=2"]

    run, whole = tmp_path / "run", tmp_path / "whole"
    assert plain(*words("run"), "keep_checkpoints=9")[0] == 0
    assert plain(*words("whole"))[0] == 0
    for path in checkpoint.list_checkpoints(run / "checkpoints"):
        if path.name > "step-0000000010.safetensors":
            path.unlink()
    before = {path: path.read_bytes() for path in run.rglob("*.json*")}
    code, _, said = plain(*words("run"), "seed=1")
    assert code == 2
    assert said.count("\n") == 1
    assert "this run has seed=1: " in said
    assert {path: path.read_bytes() for path in run.rglob("*.json*")} == before
    code, output, said = plain(*words("run"))
    assert code == 0, said
    assert "from step 10;" in output
    assert history(run) == history(whole)
    final = "checkpoints/step-0000000032.safetensors"
    assert digest_of(run / final) == digest_of(whole / final)


def test_a_second_run_into_the_same_output_ends_with_one_line_and_code_2(
    plain: Plain, dataset: Path, tmp_path: Path
) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path / 'run'}", *TINY, "epochs=1"]
    with RunFolder(str(tmp_path / "run")).locked():
        code, _, said = plain(*words)
    assert code == 2
    assert said == (
        f"train.py: another run is writing '{tmp_path / 'run'}': wait until it has ended, or give another output\n"
    )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["_lock"]
    assert plain(*words)[0] == 0


def test_a_fresh_start_forgets_the_epochs_of_a_run_that_left_no_checkpoint(
    plain: Plain, dataset: Path, tmp_path: Path
) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path / 'run'}", *TINY, "epochs=1"]
    assert plain(*words)[0] == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert plain(*words)[0] == 0
    assert [record["epoch"] for record in history(tmp_path / "run")] == [1]


def test_a_run_with_everything_that_remembers_goes_on_bit_for_bit(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    def words(run: str) -> list[str]:
        tried = [
            "loss.name=ml_images",
            "ema.half_life_epochs=1",
            "optim.clip_norm=5",
            "optim.name=lamb",
            "optim.lr=0.1",
            "engine.channels_last=true",
        ]
        return [
            f"data.path={dataset}",
            f"output={tmp_path / run}",
            *TINY,
            *tried,
            "checkpoint_every_steps=10",
            "epochs=2",
        ]

    run, whole = tmp_path / "run", tmp_path / "whole"
    assert plain(*words("run"), "keep_checkpoints=9")[0] == 0
    assert plain(*words("whole"))[0] == 0
    for path in checkpoint.list_checkpoints(run / "checkpoints"):
        if path.name > "step-0000000010.safetensors":
            path.unlink()
    code, _, said = plain(*words("run"))
    assert code == 0, said
    assert history(run) == history(whole)
    final = "checkpoints/step-0000000032.safetensors"
    assert digest_of(run / final) == digest_of(whole / final)
    assert {name.partition(".")[0] for name in checkpoint.load(run / final).tensors} == {
        "model", "optimizer", "loss", "mean",
    }  # fmt: skip


def test_the_engine_changes_how_it_is_computed_not_what(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    tried = {
        "plain": [],
        "last": ["engine.channels_last=true"],
        "bf16": ["engine.precision=bf16"],
        "pieces": ["engine.accumulate=3", "data.batch_size=4"],
    }
    losses = {}
    for name, words in tried.items():
        words = [*words, "epochs=2", "model.batch_norm=frozen"]  # others would see 4 pictures at once
        code, output, said = plain(f"data.path={dataset}", f"output={tmp_path / name}", *TINY, *words)
        assert code == 0, said
        assert ("each as 3 batches of 4 a rank" in output) == (name == "pieces")
        assert report(tmp_path / name)["steps"] == 32
        losses[name] = [record["loss"] for record in history(tmp_path / name)]
    assert losses["last"] == pytest.approx(losses["plain"], rel=1e-3)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["bf16"] != losses["plain"]
    assert losses["pieces"] == pytest.approx(losses["plain"], rel=1e-3)


def test_the_experiments_siblings_run_one_after_the_other(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    pretrained = tmp_path / "pretrain_ml_images" / "checkpoints" / "best.safetensors"
    said = {}
    for name in (
        "pretrain_ml_images",
        "finetune_imagenet_224",
        "finetune_imagenet_224_299",
        "single_label",
        "cifar10_smoke",
    ):
        words = [str(ROOT / f"conf/smoke/train/{name}.yaml"), f"data.path={dataset}", f"output={tmp_path / name}"]
        words += [f"start_from={pretrained}"] if name.startswith("finetune") else []
        code, said[name], wrong = plain(*words)
        assert code == 0, wrong
    assert (
        f"tensors taken from {pretrained} (the weights of its last step), the head fc with them"
        in said["finetune_imagenet_224"]
    )
    assert "tensors taken" not in said["single_label"]
    one, other = (checkpoint.load(path).tensors for path in (
        pretrained, tmp_path / "finetune_imagenet_224" / "checkpoints" / "best.safetensors",
    ))  # fmt: skip
    fixed = [name for name in one if name.startswith(("model.features.0.", "model.features.1."))]
    assert len(fixed) > 3 and all(torch.equal(one[name], other[name]) for name in fixed)
    assert not torch.equal(one["model.features.3.weight"], other["model.features.3.weight"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.path=nowhere"], "train.py: data.path: 'nowhere' is missing, expected a data set folder"),
        (["epochs=0"], "train.py: epochs must be >= 1, got 0"),
        (["data.batch_size=500"], "train.py: data.batch_size=500 on one rank is more than the 192 rows"),
        (["output=README-like"], "train.py: output=README-like is a file, expected a folder"),
        (["model.nam=x"], "train.py: unknown option 'model.nam'"),
        (["output=README-like/below"], "train.py: cannot write README-like/below: Not a directory"),
        (["output=/proc/nope"], "train.py: cannot write /proc/nope: No such file or directory"),
        (["seed=-1"], "train.py: seed must be in [0, 2**63), got -1"),
        (["optim.weight_decay=.inf"], "train.py: optim.weight_decay must be >= 0 and finite, got inf"),
        (
            ["model.name=resnet18", "data.batch_size=1"],
            "train.py: model.name=resnet18 cannot be trained on data.batch_size=1 pictures of data.image_size=32: ",
        ),
    ],
)
def test_wrong_input_ends_with_one_line_and_code_2(
    plain: Plain, monkeypatch: pytest.MonkeyPatch, dataset: Path, tmp_path: Path, words: list[str], line: str
) -> None:
    (tmp_path / "README-like").touch()
    monkeypatch.chdir(tmp_path)
    code, _, said = plain(f"data.path={dataset}", f"output={tmp_path / 'run'}", *TINY, *words)
    assert code == 2
    assert said.count("\n") == 1, said
    assert said.startswith(line)


def test_checkpoints_that_cannot_be_written_end_the_run_with_one_line_and_code_2(
    plain: Plain, dataset: Path, tmp_path: Path
) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path}", "epochs=1", *TINY, "checkpoint_every_steps=2"]
    RunFolder(str(tmp_path)).claim({})
    (tmp_path / "checkpoints").touch()  # not a folder
    code, _, said = plain(*words)
    assert code == 2
    assert said == f"train.py: cannot write {tmp_path}/checkpoints/step-0000000002.safetensors: Not a directory\n"
    assert not (tmp_path / "report.json").exists()


def test_a_loss_that_explodes_ends_with_code_1_and_the_step(plain: Plain, dataset: Path, tmp_path: Path) -> None:
    words = [f"data.path={dataset}", f"output={tmp_path}/run", "epochs=3", *TINY, "optim.lr=1e30"]
    code, _, said = plain(*words)
    assert code == 1
    assert "not finite" in said
    assert "at step " in said or "after step " in said
    assert "checkpoint" not in said  # there is none
    assert said.count("\n") == 1


def test_sigterm_saves_the_step_and_the_same_command_goes_on(plain: Plain, dataset: Path, tmp_path: Path) -> None:
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
    code, output, said = plain(*words, "epochs=3" if stopped < 32 else "epochs=60")
    assert code == 0, said
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
    assert {answer["steps"] for answer in told} == {2 * (216 // 40)}
    assert len({answer["checksum"] for answer in told}) == 1
    assert len({answer["map"] for answer in told}) == 1
    assert all(answer["differ"] == [7] for answer in told)
    for epoch in range(2):
        keys = Counter(key for answer in told for key in answer["keys"][epoch])
        assert set(keys.values()) == {1}
        assert len(keys) == 216 - told[0]["remainder"] == 8 * 5 * 5
    assert all(answer["sum"] == [28, 8] for answer in told)
    assert all(answer["gather"] == [[rank, rank] for rank in range(8) for _ in range(rank % 3)] for answer in told)
    assert all(answer["json"] == {"from": 0, "text": "é" * 9} for answer in told)


@pytest.mark.horovod
def test_a_killed_rank_ends_the_job_and_a_rerun_ends_like_one_run(
    ranks: list[str], dataset: Path, tmp_path: Path
) -> None:
    def command(run: str) -> list[str]:
        words = [f"data.path={dataset}", f"output={tmp_path / run}", "epochs=6", "checkpoint_every_steps=3", *TINY]
        return [*ranks, "-np", "2", "-H", "localhost:2", sys.executable, "train.py", *words]

    process = start(command("killed"))
    wait_for_checkpoint(tmp_path / "killed", 6)
    began = time.monotonic()
    os.kill(rank_1_of(str(tmp_path / "killed")), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - began < 10
    assert "Process 1 exit with status code 137." in output
    assert not (tmp_path / "killed" / "report.json").exists(), output

    code, output = finish(command("killed"))
    assert code == 0, output
    assert "from step 0;" not in output
    code, output = finish(command("whole"))
    assert code == 0, output
    killed, whole = report(tmp_path / "killed"), report(tmp_path / "whole")
    assert killed["steps"] == whole["steps"] == 6 * 8
    assert killed["ranks"] == 2
    assert [record["loss"] for record in history(tmp_path / "killed")] == [
        record["loss"] for record in history(tmp_path / "whole")
    ]
    torch.testing.assert_close(killed["validation"], whole["validation"], rtol=1e-5, atol=1e-6)
    final = "checkpoints/step-0000000048.safetensors"
    one, other = (checkpoint.load(tmp_path / run / final).tensors for run in ("killed", "whole"))
    for name, tensor in one.items():
        if "running_" in name:  # as checkpoint.py says
            torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, other[name]), name

    scalars = EventAccumulator(str(tmp_path / "whole" / "tensorboard"))
    scalars.Reload()
    assert len(list((tmp_path / "whole" / "tensorboard").iterdir())) == 1  # rank 0's alone
    assert [event.step for event in scalars.Scalars("train/loss")] == list(range(1, 49))
    drawn = {event.step: event.value for event in scalars.Scalars("validation/mean_average_precision")}
    assert drawn == {
        record["step"]: pytest.approx(record["validation"]["mean_average_precision"])
        for record in history(tmp_path / "whole")
    }


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
    about = checkpoint._about(path)
    return str(about["digest"])
