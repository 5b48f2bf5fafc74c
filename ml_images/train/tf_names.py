"""The variables of the original's checkpoints and the tensors of our `ml_images_resnet101`: two names of one thing.

A TensorFlow checkpoint is handed over as an .npz of arrays under their variable names; making one takes TensorFlow and
three lines, this module needs neither. Kernels are HWIO there and OIHW here, the classifier (inputs, classes) there.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ml_images.errors import InputError
from ml_images.train.preactivation_resnet import BLOCKS, PreactivationResNet

# What training left in a checkpoint beside the network: momentum, the step, and the two counters of the loss.
_OF_TRAINING = ("Momentum", "global_step")
_OF_THE_LOSS = ("Variable", "Variable_1")

_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclass(frozen=True)
class Pair:
    """One variable: its name in the original, its name here, and the order of axes that turns its array into ours."""

    theirs: str
    ours: str
    axes: tuple[int, ...]


def layout() -> Iterator[Pair]:
    """All 522 variables, from the pictures on: kernels, batch norms of four each, the two of the classifier."""
    yield _kernel("init/init_conv", "stem")
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            theirs, ours = f"stages_{stage}_block_{block}", f"stages.{stage}.{block}"
            if block == 0:  # branch 1 is the shortcut, branch 2 the three convolutions
                yield from _batch_norm(f"{theirs}/conv1_b1_bn", f"{ours}.shortcut_bn")
                yield _kernel(f"{theirs}/conv1_b1", f"{ours}.shortcut")
            for number in (1, 2, 3):
                yield from _batch_norm(f"{theirs}/conv{number}_b2_bn", f"{ours}.bn{number}")
                yield _kernel(f"{theirs}/conv{number}_b2", f"{ours}.conv{number}")
    yield from _batch_norm("global_pool/bn", "bn")
    yield Pair("logits/dense/kernel", "fc.weight", (1, 0))
    yield Pair("logits/dense/bias", "fc.bias", (0,))


def to_state_dict(variables: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """A state of `ml_images_resnet101`, float32, with as many classes as the variables have.

    Raises InputError that names the variables which are missing, left over (but for what only training needs) or of
    another shape.
    """
    pairs = list(layout())
    names = {name for name in variables if not (name in _OF_THE_LOSS or any(part in name for part in _OF_TRAINING))}
    missing = [pair.theirs for pair in pairs if pair.theirs not in names]
    left_over = sorted(names - {pair.theirs for pair in pairs})
    if missing or left_over:
        raise InputError(
            f"not the variables of ML-Images' ResNet-101: missing {_listed(missing)}; left over {_listed(left_over)}"
        )
    bias = variables["logits/dense/bias"]
    with torch.device("meta"):
        expected = PreactivationResNet(len(bias) if bias.ndim else 1).state_dict()
    state: dict[str, Tensor] = {}
    differing = []
    for pair in pairs:
        array, shape = variables[pair.theirs], _theirs(expected[pair.ours].shape, pair.axes)
        if array.shape != shape:
            differing.append(f"{pair.theirs} {array.shape} for {shape}")
        elif not np.issubdtype(array.dtype, np.floating):
            differing.append(f"{pair.theirs} {array.dtype} for float32")
        else:
            state[pair.ours] = torch.from_numpy(np.array(array.transpose(pair.axes), np.float32, order="C"))
    if differing:
        raise InputError(f"not the variables of ML-Images' ResNet-101: {_listed(differing)}")
    counters = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith("num_batches_tracked")}
    return {name: state[name] if name in state else counters[name] for name in expected}


def to_variables(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The way back: the original's variables from a state of `ml_images_resnet101`, float32."""
    return {
        pair.theirs: np.ascontiguousarray(
            state[pair.ours].detach().float().cpu().numpy().transpose(np.argsort(pair.axes))
        )
        for pair in layout()
    }


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; pickled ones are refused. Raises InputError for anything else."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not an .npz of plain arrays: {' '.join(str(error).split())}") from error
    raise InputError(f"{path} is a single array, not an .npz of arrays under the names of variables")


def _kernel(theirs: str, ours: str) -> Pair:
    return Pair(f"{theirs}/conv2d/kernel", f"{ours}.weight", (3, 2, 0, 1))


def _batch_norm(theirs: str, ours: str) -> Iterator[Pair]:
    for name, here in _BATCH_NORM.items():
        yield Pair(f"{theirs}/batch_normalization/{name}", f"{ours}.{here}", (0,))


def _theirs(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `axes` turns into `shape`."""
    return tuple(shape[place] for place in np.argsort(axes))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + more
