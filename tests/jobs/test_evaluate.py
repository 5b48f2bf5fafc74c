"""jobs/evaluate.py against what training said of the same weights."""

import json
import runpy
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from dataset_builder import write_dataset
from torch import Tensor
from trained_builder import untrained, write_checkpoint

from ml_images import entry, schemas
from ml_images.errors import InputError
from ml_images.jobs import evaluate
from ml_images.train.comm import LocalComm, RanksLost

ROOT = Path(__file__).parents[2]
TINY = ["model.name=tiny_cnn", "data.image_size=32", "data.batch_size=10", "schedule.warmup_epochs=0.5", "epochs=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a run of training on it."""
    folder = tmp_path_factory.mktemp("run")
    write_dataset(folder / "dataset", train=(24,) * 4, val=(12, 11))
    train = runpy.run_path(str(ROOT / "train.py"))["main"]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    words = [f"data.path={folder}/dataset", f"output={folder}/train", "ema.half_life_epochs=0.3", "optim.lr=0.02"]
    assert train([*TINY, *words]) == 0
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return folder


def words(run: Path, output: Path) -> list[str]:
    newest = sorted((run / "train" / "checkpoints").glob("step-*.safetensors"))[-1]
    return [f"checkpoint={newest}", f"data={run}/dataset", f"output={output}"]


def test_it_says_what_training_said_at_its_end_to_the_last_digit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(words(run, tmp_path / "out")) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (found,) = report["evaluations"]
    last = json.loads((run / "train" / "history.jsonl").read_text().splitlines()[-1])["validation"]
    assert found["report"] == last["report"]
    assert last["prior"] < found["report"]["mean_average_precision"] < 1  # else other scores might say the same
    assert (found["image_size"], found["left_out"], report["mean_of_weights"]) == (32, 0, True)
    assert report["counts"] == {"images at 32 pixels": {"scored": 23, "left out": 0}}
    assert f"mAP {last['mean_average_precision']:.4f}" in capsys.readouterr().out


def test_the_table_has_each_class_at_each_size(run: Path, tmp_path: Path) -> None:
    assert evaluate.main([*words(run, tmp_path / "out"), "image_sizes=[32,48]", "crops=10", "split=train"]) == 0
    table = pq.read_table(tmp_path / "out" / "per_class")
    assert table.schema.equals(schemas.CLASS_SCORES)
    assert table["image_size"].to_pylist() == [32] * 6 + [48] * 6
    evaluations = json.loads((tmp_path / "out" / "report.json").read_text())["evaluations"]
    precision = table["average_precision"].to_numpy().reshape(2, 6)
    for told, values in zip(evaluations, precision, strict=True):
        assert told["report"]["mean_average_precision"] == pytest.approx(np.mean(values))
        assert told["report"]["images"] == 96
        assert told["report"]["single_label"]["top_5"] >= told["report"]["single_label"]["top_1"]
    assert evaluations[0]["report"]["calibration"] != evaluations[1]["report"]["calibration"]
    assert table.filter(pc.is_null(table["average_precision"])).num_rows == table["threshold"].null_count
    for name in ("best_f1", "threshold"):
        assert all(0 < value <= 1 for value in table[name].drop_null().to_pylist())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ("split=test", "split=test of '.*' has no rows"),
        ("crops=5", "crops must be 1 .*, got 5"),
        ("image_sizes=[16]", "data.image_size must be >= 32"),
        ("batch_size=-1", "batch_size must be >= 0, got -1"),
        ("checkpoint=missing", "is not a whole checkpoint"),
        ("data=missing", "is missing, expected a data set folder"),
        ("scratch=/missing", "scratch: '/missing' is no folder"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(changed: str, says: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as caught:
        evaluate.main([*words(run, tmp_path / "out"), changed])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_network_of_other_classes_is_refused(run: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", untrained(num_classes=4))
    with pytest.raises(InputError, match="has 6 classes, the checkpoint 4"):
        evaluate.main([*words(run, tmp_path / "out"), f"checkpoint={other}"])


def test_ranks_that_are_lost_are_told_in_a_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Alone(LocalComm):
        def sum(self, values: Tensor, name: str) -> Tensor:
            raise RanksLost("rank 0 of 2 has lost touch with others: closed")

    monkeypatch.setattr(evaluate, "open_comm", lambda _: Alone())
    assert evaluate.main(words(run, tmp_path / "out")) == entry.FAILED
    assert capsys.readouterr().err == "evaluate.py: rank 0 of 2 has lost touch with others: closed\n"


def test_help_has_examples(capsys: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    told = capsys.readouterr().out
    assert "python jobs/evaluate.py" in told
    assert "image_sizes" in told
