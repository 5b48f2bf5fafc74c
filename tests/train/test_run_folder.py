import json
from pathlib import Path

import pytest

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Position
from ml_images.train.model import ModelConfig, OptimConfig, build_model, build_optimizer
from ml_images.train.run_folder import RunFolder, write_json


def with_checkpoints(path: Path, *steps: int) -> RunFolder:
    folder = RunFolder(str(path))
    folder.claim({"epochs": 1})
    model = build_model(ModelConfig("tiny_cnn"), 2)
    optimizer = build_optimizer(OptimConfig(), model)
    for step in steps:
        state = checkpoint.capture(Position(0, step, 100, 1), None, {}, model, optimizer)
        checkpoint.save(folder.checkpoints, state, keep=9)
    return folder


def test_a_new_an_empty_and_an_own_folder_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new", tmp_path / "empty", tmp_path / "new"):
        RunFolder(str(path)).claim({"epochs": 3})
        assert json.loads((path / "run.json").read_text())["config"] == {"epochs": 3}


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and is not a training run of ours"):
        RunFolder(str(tmp_path)).claim({})
    with pytest.raises(InputError, match=r"thesis.txt is a file, expected a folder"):
        RunFolder(str(tmp_path / "thesis.txt")).claim({})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_where_a_run_starts(tmp_path: Path) -> None:
    fresh = with_checkpoints(tmp_path / "fresh")
    assert fresh.find_start("auto") is None
    assert fresh.find_start("never") is None
    used = with_checkpoints(tmp_path / "used", 3, 8)
    found = used.find_start("auto")
    assert found is not None
    assert found.position.step == 8
    with pytest.raises(InputError, match=r"holds 2 checkpoints: resume=auto goes on"):
        used.find_start("never")


def test_a_run_can_start_from_a_checkpoint_of_another(tmp_path: Path) -> None:
    used = with_checkpoints(tmp_path / "used", 3, 8)
    early = checkpoint.list_checkpoints(used.checkpoints)[0]
    start = with_checkpoints(tmp_path / "fresh").find_start(str(early))
    assert start is not None
    assert start.position.step == 3
    with pytest.raises(InputError, match=r"holds later checkpoints than resume="):
        used.find_start(str(early))
    with pytest.raises(InputError, match=r"resume=nowhere: .*accepted are auto, never or the path"):
        used.find_start("nowhere")


def test_records_of_steps_that_will_happen_again_are_dropped(tmp_path: Path) -> None:
    folder = with_checkpoints(tmp_path)
    for step in (4, 8, 12):
        folder.record({"step": step})
    folder.forget_after(8)
    folder.record({"step": 11})
    assert [json.loads(line)["step"] for line in folder.history.read_text().splitlines()] == [4, 8, 11]


def test_a_json_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
