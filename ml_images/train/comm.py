"""How the processes of one training run talk: the only importer of Horovod.

The loop, the metrics and the checkpoints see `Comm` alone, so they run and are tested in one process. Every collective
has an explicit name: Horovod's automatic names are counters, and ranks whose counters drift apart wait for ever.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.errors import InputError


class Comm(Protocol):
    """The processes of a run: `rank` of `size`, and `local_rank` of `local_size` on this machine."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def local_rank(self) -> int: ...
    @property
    def local_size(self) -> int: ...

    def sum(self, values: Tensor, name: str) -> Tensor:
        """The element-wise sum over ranks, on every rank; `values` has the same shape everywhere and is not changed."""

    def gather(self, rows: Tensor, name: str) -> Tensor:
        """All ranks' `rows` one after the other, on every rank; first dimensions may differ and be 0."""

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite `tensors`, in place, with those of rank 0; names and shapes are the same everywhere."""

    def broadcast_json(self, value: Any, name: str) -> Any:
        """Rank 0's `value` (what JSON can say) on every rank; the others' is ignored."""

    def wrap_optimizer(self, optimizer: Optimizer, model: nn.Module) -> Optimizer:
        """An optimizer whose step() uses gradients averaged over ranks. Wrap before loading its state."""

    def close(self) -> None:
        """Leave the run; waits for nobody."""


class LocalComm:
    """A run of one process: everything is already everywhere."""

    rank, size, local_rank, local_size = 0, 1, 0, 1

    def sum(self, values: Tensor, name: str) -> Tensor:
        return values.clone()

    def gather(self, rows: Tensor, name: str) -> Tensor:
        return rows

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        pass

    def broadcast_json(self, value: Any, name: str) -> Any:
        return value

    def wrap_optimizer(self, optimizer: Optimizer, model: nn.Module) -> Optimizer:
        return optimizer

    def close(self) -> None:
        pass


class HorovodComm:
    """A process started by horovodrun. With several GPUs a process takes the one of its local rank."""

    def __init__(self) -> None:
        try:
            import horovod.torch as hvd
        except ImportError as error:
            raise InputError(
                f"started by horovodrun, but Horovod cannot be imported ({error}): run make setup"
            ) from error
        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        if torch.cuda.is_available():
            if self.local_size > torch.cuda.device_count():
                raise InputError(f"{self.local_size} processes on a machine with {torch.cuda.device_count()} GPUs")
            torch.cuda.set_device(self.local_rank)

    def sum(self, values: Tensor, name: str) -> Tensor:
        return self._hvd.allreduce(values, name=name, op=self._hvd.Sum)

    def gather(self, rows: Tensor, name: str) -> Tensor:
        return self._hvd.allgather(rows.contiguous(), name=name)

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        self._hvd.broadcast_parameters(dict(tensors), root_rank=0)

    def broadcast_json(self, value: Any, name: str) -> Any:
        text = json.dumps(value).encode()  # not hvd.broadcast_object: that one pickles
        length = self._hvd.broadcast(torch.tensor([len(text)]), root_rank=0, name=f"{name}.length")
        letters = torch.zeros(int(length), dtype=torch.uint8)
        if self.rank == 0:
            letters = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        return json.loads(bytes(self._hvd.broadcast(letters, root_rank=0, name=f"{name}.text").tolist()))

    def wrap_optimizer(self, optimizer: Optimizer, model: nn.Module) -> Optimizer:
        return self._hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

    def close(self) -> None:
        self._hvd.shutdown()


def open_comm(*, horovod: bool) -> Comm:
    """The processes that this one belongs to; `horovod` says whether horovodrun started it."""
    return HorovodComm() if horovod else LocalComm()


def weights_digest(model: nn.Module) -> bytes:
    """32 bytes that are equal for models with bit-equal parameters (statistics of batch norm are not looked at)."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def ranks_that_differ(model: nn.Module, comm: Comm) -> list[int]:
    """Ranks whose parameters are not bit-equal to those of rank 0; the same list on every rank."""
    mine = torch.frombuffer(bytearray(weights_digest(model)), dtype=torch.uint8).reshape(1, -1)
    digests = comm.gather(mine, "weights_digest")
    return [rank for rank in range(comm.size) if not torch.equal(digests[rank], digests[0])]


@contextmanager
def averaged_buffers(model: nn.Module, comm: Comm) -> Iterator[None]:
    """Within: the mean of the ranks' batch-norm statistics, so that all evaluate and save the same model.

    After: each rank's own ones again, so that it changes nothing for training how often a run is saved.
    """
    buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    own = {name: buffer.clone() for name, buffer in buffers.items()}
    if comm.size > 1:
        for name, buffer in buffers.items():
            buffer.copy_(comm.sum(buffer, f"buffer.{name}") / comm.size)
    yield
    for name, buffer in buffers.items():
        buffer.copy_(own[name])
