"""Checkpoints: one safetensors file each, tensors and JSON, whole or not there; loading never unpickles.

A file holds what run_state.py names, and where the run was. It is written beside, flushed and moved into place, so a
killed process leaves the one before. Two digests find a file that the disk has damaged since: what the header says of
the run has one, and says the one of the tensors.

What a resumed run shares with one that was never stopped: with one process every tensor, bit by bit; with several
ranks weights and momentum bit by bit, and the running statistics of batch norm up to rounding (1e-7): a file holds
their mean over the ranks, from which all ranks go on, while an uninterrupted rank goes on with its own.
"""

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ml_images.errors import InputError, StorageError

FORMAT = "ml-images checkpoint 2"
_ABOUT, _ABOUT_DIGEST = "ml-images", "ml-images digest"  # keys of the header
# Prefixes of the tensors' names: weights, what the optimizer remembers, counters of the loss, the mean of weights. The
# last, where there is one, is what was evaluated and is to be used; `mean.updates` counts how often it was moved.
MODEL, OPTIMIZER, LOSS, MEAN = "model.", "optimizer.", "loss.", "mean."
BEST = "best.safetensors"  # the one with the highest score, also after its step has been dropped
UNFINISHED = "unfinished"  # a folder beside them; what a killed process left in it goes with the next save

_SAVING = threading.Lock()  # a thread of a journal that was given up may still write when the next one begins

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Where a run is: `step` steps are done, `step_in_epoch` of them in this epoch, out of `steps_per_epoch`.

    Earlier epochs may have had another number of steps: `step` only ever grows, whatever the plans were.
    """

    step: int
    step_in_epoch: int
    steps_per_epoch: int
    reading: Mapping[str, Any]  # data.TrainingReader.state_dict
    loss_sum: float = 0.0  # of all rows in this epoch so far
    skipped: int = 0  # of these, broken pictures that were left out

    @property
    def epoch(self) -> int:
        return int(self.reading["epoch"])

    @property
    def place(self) -> int:
        """Rows of the epoch that all ranks together have consumed."""
        return int(self.reading["place"])

    @property
    def step_of_plan(self) -> int:
        """The steps behind it, had all epochs been of `steps_per_epoch`: what the learning rate depends on."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    def after_step(self, loss: float, rows: int, skipped: int, reading: Mapping[str, Any]) -> "Position":
        """A step of `rows` rows over all ranks is done, whose mean loss is `loss` and of which `skipped` were left out;
        `reading` stands behind them."""
        return dataclasses.replace(
            self,
            step=self.step + 1,
            step_in_epoch=self.step_in_epoch + 1,
            reading=reading,
            loss_sum=self.loss_sum + loss * rows,
            skipped=self.skipped + skipped,
        )

    def next_epoch(self, reading: Mapping[str, Any]) -> "Position":
        return dataclasses.replace(self, step_in_epoch=0, reading=reading, loss_sum=0.0, skipped=0)


@dataclass(frozen=True)
class Checkpoint:
    position: Position
    score: float | None  # mean average precision, where the epoch was evaluated
    config: dict[str, Any]  # of the run, resolved
    tensors: Mapping[str, Tensor]
    class_names: Sequence[str] | None = None  # one an output, where the data set of the run told them


class Unreadable(Exception):
    """A file that is not a whole checkpoint."""


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `checkpoint` into `folder`, then drop all but the last `keep` and the best. Returns its path.

    The one just written is never dropped. Raises StorageError when the disk refuses.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    about = {
        "format": FORMAT,
        "position": dataclasses.asdict(checkpoint.position),
        "score": checkpoint.score,
        "config": checkpoint.config,
        "class_names": checkpoint.class_names,
        "digest": _digest(tensors),
    }
    text = json.dumps(about)
    path = folder / file_name(checkpoint.position)
    unfinished = folder / UNFINISHED
    beside = unfinished / path.name
    with _SAVING, storage_errors(path):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            beside.touch()
            mode = beside.stat().st_mode & 0o777  # the umask's; safetensors makes its own file, with 0600
            safetensors.torch.save_file(tensors, beside, metadata={_ABOUT: text, _ABOUT_DIGEST: _digest_of_text(text)})
            beside.chmod(mode)
            # The best first: a run that is killed in between makes this step again, and nobody would look at its score
            # once it had gone on from it.
            if checkpoint.score is not None and checkpoint.score > _best_score(folder):
                best = unfinished / BEST
                _second_name(beside, best)
                _into_place(best, folder / BEST)
            _into_place(beside, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        others = [other for other in list_checkpoints(folder) if other != path]
        for old in others[: max(0, len(others) - keep + 1)]:
            old.unlink()
    return path


def file_name(position: Position) -> str:
    """The name of the checkpoint at `position`: names sort as steps do."""
    return f"step-{position.step:010d}.safetensors"


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What the disk says while `path` is written becomes a StorageError with one line."""
    try:
        yield
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise StorageError(f"cannot write {path}: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def load(path: Path) -> Checkpoint:
    """The checkpoint in `path`, with its digests checked. Raises Unreadable for anything else."""
    try:
        about = _about(path)
        tensors = safetensors.torch.load_file(path)
        position, names = Position(**about["position"]), about.get("class_names")  # not there in earlier versions
        checkpoint = Checkpoint(position, about["score"], about["config"], tensors, names)
        digest = about["digest"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{path} is not a whole checkpoint: {' '.join(str(error).split())}") from error
    if digest != _digest(tensors):
        raise Unreadable(f"{path} is damaged: its digest does not fit its tensors")
    return checkpoint


def is_checkpoint(path: Path) -> bool:
    """Whether `path` says that it is one of ours; other safetensors files do not. Raises SafetensorError, OSError."""
    return _ABOUT in _header(path)


def weights_to_use(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The model's tensors of a checkpoint under the model's names, and whether they are the mean of its weights.

    The mean is taken where the run kept one: it is what was evaluated.
    """
    is_mean = f"{MEAN}updates" in tensors
    prefix = MEAN if is_mean else MODEL
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if is_mean:
        del found["updates"]
    return found, is_mean


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first; no look inside."""
    return sorted(folder.glob("step-*.safetensors"))


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read; None where there are no files. One warning for each that cannot.

    Newer ones that cannot be read are renamed to *.unreadable: a later save would keep them and drop good ones.
    Raises InputError when there are checkpoints and none is readable: starting over would hide the loss.
    """
    paths = list_checkpoints(folder)
    for newer, path in enumerate(reversed(paths)):
        try:
            found = load(path)
        except Unreadable as error:
            log.warning("%s; trying the one before", error)
            continue
        for unreadable in paths[len(paths) - newer :]:
            with storage_errors(unreadable):
                unreadable.rename(unreadable.with_name(unreadable.name + ".unreadable"))
        return found
    if paths:
        raise InputError(f"none of the {len(paths)} checkpoints in {folder} can be read; move them away to start over")
    return None


def _about(path: Path) -> dict[str, Any]:
    header = _header(path)
    text = header.get(_ABOUT, "{}")
    digest = _digest_of_text(text)
    if header.get(_ABOUT_DIGEST, digest) != digest:  # earlier versions wrote none
        raise ValueError("its digest does not fit what its header says")
    about: dict[str, Any] = json.loads(text)
    if about.get("format") != FORMAT:
        raise ValueError(f"format is {about.get('format')}, expected '{FORMAT}'")
    return about


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _best_score(folder: Path) -> float:
    try:
        return float(_about(folder / BEST)["score"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return float("-inf")


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _second_name(path: Path, other: Path) -> None:
    """The same content under another name: a hard link, or a copy where the file system has none."""
    try:
        other.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, other)


def _into_place(beside: Path, path: Path) -> None:
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name must survive a power cut, too
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
