import io
import json
import time
from pathlib import Path

import pytest

from ml_images.errors import StorageError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Position
from ml_images.train.comm import LocalComm
from ml_images.train.evaluation import Evaluation
from ml_images.train.journal import RunJournal
from ml_images.train.losses import LossConfig, make_loss
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.progress import Progress
from ml_images.train.reader import Stages
from ml_images.train.run_folder import RunFolder
from ml_images.train.run_state import RunState


class Scalars:
    def __init__(self) -> None:
        self.written: list[tuple[str, float, int]] = []

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.written.append((tag, scalar_value, global_step))


def open_journal(folder: RunFolder, scalars: Scalars, out: io.StringIO, stages: Stages) -> RunJournal:
    folder.claim({})
    model = build_model(ModelConfig("tiny_cnn"), 2)
    state = RunState(model, build_optimizer(OptimConfig(), model), make_loss(LossConfig(), 2, LocalComm()))
    return RunJournal(folder, Progress(out, 2, 64), scalars, state, {"seed": 3}, 64, 2, stages, ["cat", "dog"])


def test_a_checkpoint_that_could_not_be_written_ends_the_run_at_a_later_step(tmp_path: Path) -> None:
    journal = open_journal(RunFolder(str(tmp_path)), Scalars(), io.StringIO(), Stages())
    (tmp_path / "checkpoints").touch()
    journal.save(Position(1, 1, 500, {"epoch": 0, "place": 0}), None)
    with pytest.raises(StorageError, match=r"^cannot write .*step-0000000001.safetensors: Not a directory$"):
        for step in range(2, 500):
            journal.step(step, 0, 0.9, 0.01, 0.0)
            time.sleep(0.01)


def test_an_epoch_is_told_drawn_and_kept(tmp_path: Path) -> None:
    folder, scalars, out, stages = RunFolder(str(tmp_path / "run")), Scalars(), io.StringIO(), Stages()
    journal = open_journal(folder, scalars, out, stages)
    journal.step(1, 0, 0.9, 0.01, 0.25)
    stages.add("read", 0.5)
    stages.add("decode", 2.5)
    epoch = {
        "epoch": 1,
        "step": 2,
        "loss": 0.8,
        "elapsed_s": 4.0,
        "waited_s": 1.0,
        "skipped_images": 3,
        "steps_per_s": 0.5,
    }
    journal.epoch(epoch, Evaluation(10, 0.7, 0.6, 0.2, 2, 0))
    journal.save(Position(2, 0, 2, {"epoch": 1, "place": 0}), 0.6)
    journal.finish()

    assert ("train/loss", 0.9, 1) in scalars.written
    assert ("train/lr", 0.01, 1) in scalars.written
    assert ("validation/mean_average_precision", 0.6, 2) in scalars.written
    record = json.loads(folder.history.read_text())
    assert record["images_per_s"] == pytest.approx(32.0)
    assert record["validation"]["prior"] == 0.2
    assert record["reading_s"] == {"read": 0.5, "decode": 2.5}
    told = out.getvalue()
    assert "epoch 1: training loss 0.8000, 32.0 images/s; waited 1.0 s (25%) for data, slowest to decode" in told
    assert "; 3 pictures left out; validation mAP 0.6000 (random scores 0.2000)" in told
    kept = checkpoint.latest(folder.checkpoints)
    assert kept is not None
    assert (kept.score, kept.config, kept.class_names) == (0.6, {"seed": 3}, ["cat", "dog"])


def test_an_epoch_in_which_no_class_could_be_scored_is_told_with_the_reason_and_kept_as_json(tmp_path: Path) -> None:
    folder, scalars, out = RunFolder(str(tmp_path / "run")), Scalars(), io.StringIO()
    journal = open_journal(folder, scalars, out, Stages())
    classes = {"all": 2, "scored": 0, "all_unknown": 0, "no_positive": 1, "no_negative": 1}
    times = {"elapsed_s": 4.0, "waited_s": 1.0, "skipped_images": 0, "steps_per_s": 0.5}
    nothing = Evaluation(1, 0.7, None, None, 0, 1, report={"classes": classes})
    journal.epoch({"epoch": 1, "step": 2, "loss": 0.8, **times}, nothing)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    record = json.loads(folder.history.read_text(), parse_constant=refuse)
    assert record["validation"]["mean_average_precision"] is record["validation"]["prior"] is None
    assert "validation of 1 images without mAP: no class can be scored: of 2, 1 are" in out.getvalue()
    assert [tag for tag, _, _ in scalars.written] == ["train/images_per_s", "validation/loss"]
