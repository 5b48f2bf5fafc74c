"""Checkpoints: one safetensors file each, tensors and JSON, whole or not there; loading never unpickles.

A file holds the model, the momentum of SGD and where the run was. It is written beside, flushed and renamed, so a
killed process leaves the one before; a digest over the tensors finds a file that the disk has damaged since.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.errors import InputError, StorageError
from ml_images.train.comm import Comm

FORMAT = "ml-images checkpoint 1"
MODEL, MOMENTUM = "model.", "momentum."  # prefixes of the tensors' names
BEST = "best.safetensors"  # the one with the highest score, also after its step has been dropped

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """Where a run is: `step` steps are done, `step_in_epoch` of them in `epoch`, out of `steps_per_epoch`.

    Earlier epochs may have had another number of steps: `step` only ever grows, whatever the plans were.
    """

    step: int
    epoch: int
    step_in_epoch: int
    steps_per_epoch: int
    order: Mapping[str, Any]  # option or input -> its value: what decides which rows a step of the epoch gets
    loss_sum: float = 0.0  # of all rows in this epoch so far
    place: int = 0  # rows of the epoch that all ranks together have consumed

    @property
    def step_of_plan(self) -> int:
        """The steps behind it, had all epochs been of `steps_per_epoch`: what the learning rate depends on."""
        return self.epoch * self.steps_per_epoch + self.step_in_epoch

    def after_step(self, loss: float, rows: int) -> "Position":
        """A step of `rows` rows over all ranks is done, whose mean loss is `loss`."""
        return dataclasses.replace(
            self,
            step=self.step + 1,
            step_in_epoch=self.step_in_epoch + 1,
            loss_sum=self.loss_sum + loss * rows,
            place=self.place + rows,
        )

    def next_epoch(self) -> "Position":
        return dataclasses.replace(self, epoch=self.epoch + 1, step_in_epoch=0, loss_sum=0.0, place=0)


@dataclass(frozen=True)
class Checkpoint:
    position: Position
    score: float | None  # mean average precision, where the epoch was evaluated
    config: dict[str, Any]  # of the run, resolved
    tensors: Mapping[str, Tensor]


class Unreadable(Exception):
    """A file that is not a whole checkpoint."""


def capture(
    position: Position, score: float | None, config: dict[str, Any], model: nn.Module, optimizer: Optimizer
) -> Checkpoint:
    """The state of a run; the tensors are those of `model` and `optimizer` themselves, not copies."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    tensors |= {MOMENTUM + name: tensor for name, tensor in _momentum(model, optimizer).items()}
    return Checkpoint(position, score, config, tensors)


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
        "digest": _digest(tensors),
    }
    path = folder / file_name(checkpoint.position)
    beside = path.with_suffix(".tmp")
    with storage_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            beside.touch()
            mode = beside.stat().st_mode & 0o777  # the umask's; safetensors makes its own file, with 0600
            safetensors.torch.save_file(tensors, beside, metadata={"ml-images": json.dumps(about)})
            beside.chmod(mode)
            _into_place(beside, path)
            if checkpoint.score is not None and checkpoint.score > _best_score(folder):
                _second_name(path, beside)
                _into_place(beside, folder / BEST)
        finally:
            beside.unlink(missing_ok=True)
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
    """The checkpoint in `path`, with its digest checked. Raises Unreadable for anything else."""
    try:
        about = _about(path)
        tensors = safetensors.torch.load_file(path)
        checkpoint = Checkpoint(Position(**about["position"]), about["score"], about["config"], tensors)
        digest = about["digest"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{path} is not a whole checkpoint: {' '.join(str(error).split())}") from error
    if digest != _digest(tensors):
        raise Unreadable(f"{path} is damaged: its digest does not fit its tensors")
    return checkpoint


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


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer) -> None:
    """Put the tensors of `checkpoint` into `model` and `optimizer`; InputError when they are of another network."""
    weights = {name.removeprefix(MODEL): t for name, t in checkpoint.tensors.items() if name.startswith(MODEL)}
    expected = model.state_dict()
    differing = sorted(weights.keys() ^ expected.keys())
    differing += [name for name in weights.keys() & expected.keys() if weights[name].shape != expected[name].shape]
    if differing:
        raise InputError(
            f"the checkpoint is of another network ({len(differing)} tensors differ, first '{differing[0]}'): "
            "model.name and the number of classes must be those it was trained with"
        )
    model.load_state_dict(weights)
    for name, parameter in model.named_parameters():
        if MOMENTUM + name in checkpoint.tensors:
            optimizer.state[parameter]["momentum_buffer"] = (
                checkpoint.tensors[MOMENTUM + name].to(parameter.device).clone()
            )


def share(model: nn.Module, optimizer: Optimizer, comm: Comm) -> None:
    """Give every rank the model and momentum of rank 0."""
    has_momentum = comm.broadcast_json(bool(_momentum(model, optimizer)), "has_momentum")
    comm.broadcast({MODEL + name: tensor for name, tensor in model.state_dict().items()})
    if has_momentum:
        for parameter in model.parameters():
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
        comm.broadcast({MOMENTUM + name: tensor for name, tensor in _momentum(model, optimizer).items()})


def _momentum(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    buffers = {
        name: optimizer.state.get(parameter, {}).get("momentum_buffer") for name, parameter in model.named_parameters()
    }
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}


def _about(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        about: dict[str, Any] = json.loads((file.metadata() or {}).get("ml-images", "{}"))
    if about.get("format") != FORMAT:
        raise ValueError(f"format is {about.get('format')}, expected '{FORMAT}'")
    return about


def _best_score(folder: Path) -> float:
    try:
        return float(_about(folder / BEST)["score"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return float("-inf")


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
