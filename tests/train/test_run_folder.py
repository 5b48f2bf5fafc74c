import errno
import json
import os
from pathlib import Path

import pytest
import torch

from ml_images.errors import InputError, StorageError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.run_folder import RunFolder, write_json


def with_checkpoints(path: Path, *steps: int) -> RunFolder:
    folder = RunFolder(str(path))
    folder.claim({"epochs": 1})
    for step in steps:
        state = Checkpoint(Position(step, step, 100, {"epoch": 0, "place": 0}), None, {}, {"model.x": torch.zeros(3)})
        checkpoint.save(folder.checkpoints, state, keep=9)
    return folder


def test_a_new_an_empty_and_an_own_folder_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "new", tmp_path / "empty", tmp_path / "new"):
        RunFolder(str(path)).refuse_foreign()
        RunFolder(str(path)).claim({"epochs": 3})
        assert json.loads((path / "run.json").read_text())["config"] == {"epochs": 3}


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and is not a training run of ours"):
        RunFolder(str(tmp_path)).refuse_foreign()
    with pytest.raises(InputError, match=r"thesis.txt is a file, expected a folder"):
        RunFolder(str(tmp_path / "thesis.txt")).refuse_foreign()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ['{"hello": 1}', "[1]", "", '{"format": "ml-images job 1"}'])
def test_a_run_json_of_somebody_else_makes_no_run_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"is not a training run of ours"):
        RunFolder(str(tmp_path)).refuse_foreign()


@pytest.mark.parametrize("place", ["file/below", "/proc/nope"])
def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    folder = RunFolder(str(tmp_path / place))
    folder.refuse_foreign()
    for write in (lambda: folder.claim({}), lambda: folder.record({}), lambda: write_json(folder.report, {})):
        with pytest.raises(StorageError, match=r"^cannot write [^\n]*: (Not a directory|No such file or directory)$"):
            write()


def test_a_full_disk_is_told_in_one_line_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"^cannot write .*report.json: No space left on device$"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_disk_that_is_full_for_the_history_is_told_in_one_line(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    folder.history.symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"^cannot write .*history.jsonl: No space left on device$"):
        folder.record({"epoch": 1})


def test_a_torn_last_line_of_the_history_was_never_written(tmp_path: Path) -> None:
    folder = with_checkpoints(tmp_path)
    folder.record({"epoch": 1, "step": 4})
    folder.record({"epoch": 2, "step": 8})
    whole = folder.history.read_text()
    for end in range(len(whole.splitlines()[0]) + 2, len(whole)):
        folder.history.write_text(whole[:end])
        folder.forget_after(2)
        assert folder.read_history() == [{"epoch": 1, "step": 4}]
    folder.history.write_text("what\n" + whole)
    with pytest.raises(InputError, match=r"history.jsonl is damaged"):
        folder.read_history()


def test_an_early_history_with_nan_is_read_and_written_as_json(tmp_path: Path) -> None:
    folder = with_checkpoints(tmp_path)
    folder.history.write_text('{"epoch": 1, "validation": {"mean_average_precision": NaN}}\n')
    folder.forget_after(1)
    assert json.loads(folder.history.read_text())["validation"] == {"mean_average_precision": None}


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


def test_records_of_epochs_that_will_happen_again_are_dropped(tmp_path: Path) -> None:
    folder = with_checkpoints(tmp_path)
    folder.forget_after(0)
    assert folder.read_history() == []
    for epoch in (1, 2, 3):
        folder.record({"epoch": epoch, "try": 1})
    folder.forget_after(2)
    folder.record({"epoch": 3, "try": 2})
    assert [(record["epoch"], record["try"]) for record in folder.read_history()] == [(1, 1), (2, 1), (3, 2)]


def test_a_json_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
