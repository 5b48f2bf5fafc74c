"""All that a run has learnt and counted: what a checkpoint holds, and what all ranks begin with.

Weights, what the optimizer remembers, the counters of a loss that has some, and the running mean of weights where one
is kept. Loaded and shared whole, so that nothing of it can be forgotten in one place and not in another.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.errors import InputError
from ml_images.train.checkpoint import LOSS, MEAN, MODEL, OPTIMIZER
from ml_images.train.comm import Comm, averaged_buffers
from ml_images.train.ema import WeightMean
from ml_images.train.optimizer_state import load_state_tensors, share_state, state_tensors
from ml_images.train.tencent_loss import MlImagesLoss


@dataclass(frozen=True)
class RunState:
    """The parts, each changed in place by training."""

    model: nn.Module
    optimizer: Optimizer
    loss: nn.Module  # (logits, Targets) -> mean over images
    mean: WeightMean | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a checkpoint: the tensors themselves, not copies."""
        found = _named(MODEL, self.model.state_dict()) | _named(LOSS, self.loss.state_dict())
        found |= _named(OPTIMIZER, state_tensors(self.model, self.optimizer))
        return found | (_named(MEAN, self.mean.state_dict()) if self.mean else {})

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors()` gave. A mean that is not among them begins with the weights.

        Raises InputError, before anything has changed, for those of another network or another loss.
        """
        weights, counters = _part(MODEL, tensors), _part(LOSS, tensors)
        if isinstance(self.loss, MlImagesLoss):
            counters = self.loss.fitted(counters)
        _check(weights, self.model, "network", "model.name and the number of classes must be those")
        _check(counters, self.loss, "loss", "the section loss must be the one")
        self.model.load_state_dict(weights)
        self.loss.load_state_dict(counters)
        load_state_tensors(self.model, self.optimizer, _part(OPTIMIZER, tensors))
        if mean := _part(MEAN, tensors):
            if self.mean:
                self.mean.load_state_dict(mean)
        else:
            self.begin_mean()

    def fit_ranks(self) -> None:
        """Make room, on every rank, for what is kept of each of the ranks that there are now."""
        if isinstance(self.loss, MlImagesLoss):
            self.loss.fit_ranks()

    def begin_mean(self) -> None:
        """Let the mean of weights, if there is one, begin with the weights as they are."""
        if self.mean:
            self.mean.load_state_dict(WeightMean(self.model).state_dict())

    def share(self, comm: Comm) -> None:
        """Give every rank all of it as rank 0 has it."""
        mean = self.mean.state_dict() if self.mean else {}
        named = _named(MODEL, self.model.state_dict()) | _named(LOSS, self.loss.state_dict()) | _named(MEAN, mean)
        comm.broadcast(named)
        if self.mean:
            self.mean.load_state_dict(mean)  # takes up the number of updates
        share_state(self.model, self.optimizer, comm)

    @contextmanager
    def averaged(self, comm: Comm) -> Iterator[None]:
        """Within: batch-norm statistics, also those in the mean of weights, are the mean over ranks."""
        with averaged_buffers(self.model, comm), averaged_buffers(self._buffers_of_mean(), comm):
            yield

    @contextmanager
    def best_weights(self) -> Iterator[None]:
        """Within: the model holds the weights that are to be evaluated: their mean, where one is kept."""
        with self.mean.applied(self.model) if self.mean else nullcontext():
            yield

    def _buffers_of_mean(self) -> nn.Module:
        """A module that holds the mean of the model's buffers, under names that a module may have."""
        holder = nn.Module()
        mean = self.mean.state_dict() if self.mean else {}
        for name, _ in self.model.named_buffers():
            if name in mean:
                holder.register_buffer(f"mean/{name.replace('.', '/')}", mean[name])
        return holder


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check(given: Mapping[str, Tensor], module: nn.Module, what: str, must: str) -> None:
    expected = module.state_dict()
    differing = sorted(given.keys() ^ expected.keys())
    differing += [name for name in given.keys() & expected.keys() if given[name].shape != expected[name].shape]
    if differing:
        raise InputError(
            f"the checkpoint is of another {what} ({len(differing)} tensors differ, first '{differing[0]}'): {must} it "
            "was trained with"
        )
