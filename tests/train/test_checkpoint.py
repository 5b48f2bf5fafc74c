import json
import logging
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ml_images.errors import InputError, StorageError
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Checkpoint, Position, Unreadable


def at(step: int) -> Position:
    return Position(step, step % 10, 10, {"epoch": step // 10, "place": step % 10 * 8, "seed": 3, "data_set": "d1"})


def state(step: int, score: float | None = None, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint(
        at(step), score, {"epochs": 3}, {"model.weight": torch.randn(4, 5), "loss.steps": torch.tensor(3)}
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = state(23, 0.5)
    loaded = checkpoint.load(checkpoint.save(tmp_path, saved, keep=2))
    assert (loaded.position, loaded.score, loaded.config) == (saved.position, 0.5, {"epochs": 3})
    assert loaded.position.step == 23
    assert loaded.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in saved.tensors.items())


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, score in ((1, 0.2), (2, 0.9), (3, 0.4), (4, None), (5, 0.8)):
        checkpoint.save(tmp_path, state(step, score), keep=2)
    assert names(tmp_path) == ["best.safetensors", "step-0000000004.safetensors", "step-0000000005.safetensors"]
    assert checkpoint.load(tmp_path / "best.safetensors").position.step == 2


def test_the_best_is_not_lost_where_a_run_is_killed_between_the_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, state(1, 0.2), keep=2)
    into_place, calls = checkpoint._into_place, iter([True, False])

    def killed(beside: Path, path: Path) -> None:
        if not next(calls):
            raise KeyboardInterrupt
        into_place(beside, path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "_into_place", killed)
        checkpoint.save(tmp_path, state(2, 0.9), keep=2)
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.position.step == 1  # from where step 2 is made again
    assert checkpoint.load(tmp_path / "best.safetensors").score == 0.9


def test_the_best_is_copied_where_the_file_system_has_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = checkpoint.save(tmp_path, state(1, 0.2), keep=2)
    assert (tmp_path / "best.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        path = checkpoint.save(tmp_path, state(step, seed=step), keep=2)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-5] ^= 1
    kept = {"truncated": data[:-10], "flipped": data, "empty": b"", "foreign": b"\x80\x04N."}[damage]
    path.write_bytes(kept)
    with caplog.at_level(logging.WARNING):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.position.step == 1
    assert len(caplog.records) == 1
    assert path.name in caplog.text
    with pytest.raises(Unreadable):
        checkpoint.load(path.with_name(f"{path.name}.unreadable"))


@pytest.mark.parametrize(("was", "now"), [('"step\\": 23', '"step\\": 99'), ('"epochs\\": 3', '"epochs\\": 7')])
def test_what_the_header_says_of_the_run_is_under_a_digest_too(tmp_path: Path, was: str, now: str) -> None:
    path = checkpoint.save(tmp_path, state(23, 0.5), keep=2)
    content = path.read_bytes()
    assert content.count(was.encode()) == 1
    path.write_bytes(content.replace(was.encode(), now.encode()))
    with pytest.raises(Unreadable, match=r"is not a whole checkpoint: its digest does not fit what its header says$"):
        checkpoint.load(path)


def test_a_best_checkpoint_whose_score_was_damaged_is_followed_by_the_next_one(tmp_path: Path) -> None:
    best = tmp_path / "best.safetensors"
    checkpoint.save(tmp_path, state(1, 0.5), keep=1)
    best.write_bytes(best.read_bytes().replace(b'"score\\": 0.5', b'"score\\": 9.5'))
    checkpoint.save(tmp_path, state(2, 0.1), keep=1)
    assert checkpoint.load(best).score == 0.1


def test_a_file_of_an_earlier_version_which_had_one_digest_is_read(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state(23), keep=2)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()["ml-images"]
    save_file(load_file(path), path, {"ml-images": about})
    assert checkpoint.load(path).position == at(23)


def test_a_file_of_an_earlier_format_is_refused_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", "ml-images checkpoint 1")
    path = checkpoint.save(tmp_path, state(1), keep=1)
    monkeypatch.undo()
    with pytest.raises(Unreadable, match=r"format is ml-images checkpoint 1, expected 'ml-images checkpoint 2'$"):
        checkpoint.load(path)


def test_no_checkpoint_is_not_the_same_as_no_readable_one(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nothing") is None
    path = checkpoint.save(tmp_path, state(1), keep=1)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the 1 checkpoints in .* can be read"):
        checkpoint.latest(tmp_path)


def test_a_write_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, state(1, 0.1), keep=1)
    before = names(tmp_path)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", full)
    with pytest.raises(StorageError, match=r"cannot write .*step-0000000002.safetensors: .*No space left"):
        checkpoint.save(tmp_path, state(2, 0.9), keep=1)
    assert names(tmp_path) == before
    latest = checkpoint.latest(tmp_path)
    assert latest is not None
    assert latest.position.step == 1


def test_a_checkpoint_says_what_it_is_without_being_loaded(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, state(12), keep=1)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    about = json.loads(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]["ml-images"])
    assert about["position"] == {
        "step": 12,
        "step_in_epoch": 2,
        "steps_per_epoch": 10,
        "reading": {"epoch": 1, "place": 16, "seed": 3, "data_set": "d1"},
        "loss_sum": 0.0,
        "skipped": 0,
    }


def test_the_one_just_written_is_kept_whatever_the_others_are_called(tmp_path: Path) -> None:
    for step in (8, 9, 3):
        path = checkpoint.save(tmp_path, state(step), keep=1)
        assert path.exists()
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("keep", [2, 3, 5])
def test_as_many_are_kept_as_were_asked_for(tmp_path: Path, keep: int) -> None:
    for step in range(1, 5):
        checkpoint.save(tmp_path, state(step), keep=keep)
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == [
        f"step-{step:010d}.safetensors" for step in range(max(1, 5 - keep), 5)
    ]


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(tmp_path: Path) -> None:
    for step in (1, 5):
        path = checkpoint.save(tmp_path, state(step), keep=2)
    path.write_bytes(b"")
    assert checkpoint.latest(tmp_path) is not None
    checkpoint.save(tmp_path, state(2), keep=1)  # and now a kill
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.position.step == 2
    assert names(tmp_path) == ["step-0000000002.safetensors", f"{path.name}.unreadable"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_others_may_read_a_checkpoint_as_far_as_the_umask_lets_them(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        path = checkpoint.save(tmp_path, state(1, 0.5), keep=1)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == (tmp_path / "best.safetensors").stat().st_mode & 0o777 == mode


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^cannot write .*file/below/step-0000000001.safetensors: Not a directory$"):
        checkpoint.save(tmp_path / "file" / "below", state(1), keep=1)
