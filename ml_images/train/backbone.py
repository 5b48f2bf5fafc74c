"""Weights of one classifier as the start of another: everything but a head of other classes.

They may come from a checkpoint of ours, from a plain safetensors file, or from the original's checkpoint as an .npz.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ml_images.errors import InputError
from ml_images.train import checkpoint
from ml_images.train.heads import head_of
from ml_images.train.tf_names import read_npz, to_state_dict


def load_backbone(model: nn.Module, path: Path) -> str:
    """Put the weights in `path` into `model`; see `read_weights`. Returns one line on what was taken.

    The head is taken when it is of the same shape; otherwise the one that `model` was built with stays. Raises
    InputError when the file is none, when it holds NaN or infinity, or when anything but the head is missing, left over
    or of another shape.
    """
    weights, source = read_weights(path)
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(f"{source} has numbers that are not finite, in {len(broken)} tensors, first '{broken[0]}'")
    try:
        return take_backbone(model, weights, source)
    except InputError as error:
        raise InputError(f"{error}; model.name must be the network that it was trained with") from error


def take_backbone(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> str:
    """load_backbone for tensors by name, as `model.state_dict()` has them; `source` says where they are from."""
    own = model.state_dict()
    name, _ = head_of(model)
    head = {f"{name}.weight", f"{name}.bias"} & own.keys()
    if all(weight in weights and weights[weight].shape == own[weight].shape for weight in head):
        drawn: set[str] = set()
    else:
        drawn = head
    expected, found = own.keys() - drawn, weights.keys() - drawn
    missing, left_over = sorted(expected - found), sorted(found - expected)
    differing = [
        f"{weight} {tuple(weights[weight].shape)} for {tuple(own[weight].shape)}"
        for weight in sorted(expected & found)
        if weights[weight].shape != own[weight].shape
    ]
    if missing or left_over or differing:
        raise InputError(
            f"{source} is of another network: {_few('missing', missing)}, {_few('left over', left_over)}, "
            f"{_few('of another shape', differing)}"
        )
    model.load_state_dict({weight: weights[weight] for weight in expected}, strict=not drawn)
    if not drawn:
        return f"{len(expected)} tensors taken from {source}, the head {name} with them"
    there = weights.get(f"{name}.weight")
    return (
        f"{len(expected)} tensors taken from {source}; drawn anew: {', '.join(sorted(drawn))} "
        f"({len(own[f'{name}.weight'])} classes here, {'no head' if there is None else len(there)} there)"
    )


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights by name, and which they are, in words. Of a checkpoint those that evaluation takes, of any other
    safetensors file all; an .npz is taken for one of the original's variables. Raises InputError."""
    if path.suffix == ".npz":
        return to_state_dict(read_npz(path)), str(path)
    try:
        if not checkpoint.is_checkpoint(path):
            return safetensors.torch.load_file(path), str(path)
        weights, is_mean = checkpoint.weights_to_use(checkpoint.load(path).tensors)
    except (SafetensorError, OSError) as error:
        expected = "expected a checkpoint of train.py, any .safetensors file or an .npz of the original's variables"
        raise InputError(f"cannot read weights from {path}: {' '.join(str(error).split())}; {expected}") from error
    except checkpoint.Unreadable as error:
        raise InputError(f"cannot read weights: {error}") from error
    return weights, f"{path} ({'the mean of its weights' if is_mean else 'the weights of its last step'})"


def _few(what: str, names: Sequence[str]) -> str:
    """How many names there are, and the first three."""
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} {what}" + (f" ({', '.join(names[:3])}{more})" if names else "")
