"""How the processes of one training run talk: the only importer of Horovod.

The loop, the metrics and the checkpoints see `Comm` alone, so they run and are tested in one process, under Horovod and
under torchrun alike. Every collective has an explicit name: Horovod's automatic names are counters, and ranks whose
counters drift apart wait for ever. (torch.distributed has no names: there the order alone counts.)
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ml_images.errors import InputError
from ml_images.train.gradients import Compression, GradientAverage, Wait
from ml_images.train.torch_comm import TorchComm, take_gpu

# Of the rounds in which Horovod's threads ask each other what is to be added up. Its own is 1 ms, good for GPUs: on two
# busy CPU cores these threads took a quarter of a step of ResNet-101, with 5 ms 9 %, with 10 ms 3 to 7 %. A collective
# that is waited for takes a round, which synchronised batch norms on CPUs feel.
_CYCLE_MS = "10"


class RanksLost(Exception):
    """Ranks are gone, or have kept the others waiting for too long. What was to be changed is in no known state."""


class Comm(Protocol):
    """The processes of a run: `rank` of `size`, and `local_rank` of `local_size` on this machine.

    Under horovodrun whatever waits for others raises RanksLost.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def local_rank(self) -> int: ...
    @property
    def local_size(self) -> int: ...

    def sum(self, values: Tensor, name: str) -> Tensor:
        """The element-wise sum over ranks, on every rank; `values` has the same shape everywhere and is not changed.

        It may be on the host or on the rank's device, where the sum then is, too.
        """

    def gather(self, rows: Tensor, name: str) -> Tensor:
        """All ranks' `rows` one after the other, on every rank; first dimensions may differ and be 0."""

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite `tensors`, in place, with those of rank 0; names and shapes are the same everywhere."""

    def broadcast_json(self, value: Any, name: str) -> Any:
        """Rank 0's `value` (what JSON can say) on every rank; the others' is ignored."""

    def average_gradients(self, model: nn.Module, compression: Compression = "none") -> GradientAverage:
        """From now on backward begins to average the gradients of `model` over ranks; `wait()` before they are used.

        `compression` makes them 16 bits wide on their way. Raises InputError for a type that the engine cannot send.
        """

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

    def average_gradients(self, model: nn.Module, compression: Compression = "none") -> GradientAverage:
        return GradientAverage(model, 1, _nothing_to_send)

    def close(self) -> None:
        pass


def _nothing_to_send(values: Tensor, name: str) -> Wait:
    raise AssertionError("one rank sends nothing")


class HorovodComm:
    """A process started by horovodrun. With several GPUs a process takes the one of its local rank."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    def __init__(self) -> None:
        try:
            import horovod.torch as hvd
            from horovod.common.exceptions import HorovodInternalError
        except ImportError as error:
            raise InputError(
                f"started by horovodrun, but Horovod cannot be imported ({error}): run make setup"
            ) from error
        self._hvd, self._error = hvd, HorovodInternalError
        if not torch.cuda.is_available():
            os.environ.setdefault("HOROVOD_CYCLE_TIME", _CYCLE_MS)
        self._meet()

    def _meet(self) -> None:
        """Wait until all ranks are there."""
        hvd = self._hvd
        try:
            hvd.init()
        except ValueError as error:
            raise RanksLost(f"the ranks did not find each other: {error}") from error
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        if torch.cuda.is_available():
            take_gpu(self.local_rank, self.local_size)

    def __deepcopy__(self, memo: dict[int, Any]) -> "HorovodComm":
        return self  # copies of a model that holds it are in the same process

    def sum(self, values: Tensor, name: str) -> Tensor:
        with self._others():
            return self._hvd.allreduce(values.contiguous(), name=name, op=self._hvd.Sum)

    def gather(self, rows: Tensor, name: str) -> Tensor:
        with self._others():
            return self._hvd.allgather(rows.contiguous(), name=name)

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        ordered = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}  # not channels_last
        with self._others():
            self._hvd.broadcast_parameters(ordered, root_rank=0)
        for name, tensor in tensors.items():
            if ordered[name].data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(ordered[name])

    def broadcast_json(self, value: Any, name: str) -> Any:
        text = json.dumps(value).encode()  # not hvd.broadcast_object: that one pickles
        with self._others():
            length = self._hvd.broadcast(torch.tensor([len(text)]), root_rank=0, name=f"{name}.length")
            letters = torch.zeros(int(length), dtype=torch.uint8)
            if self.rank == 0:
                letters = torch.frombuffer(bytearray(text), dtype=torch.uint8)
            return json.loads(bytes(self._hvd.broadcast(letters, root_rank=0, name=f"{name}.text").tolist()))

    def average_gradients(self, model: nn.Module, compression: Compression = "none") -> GradientAverage:
        if compression == "bf16":
            raise InputError("Horovod 0.28 cannot send bf16: compression must be none or fp16, or start with torchrun")
        return GradientAverage(model, self.size, self._start_sum, compression=compression)

    def _start_sum(self, values: Tensor, name: str) -> Wait:
        with self._others():
            handle = self._hvd.allreduce_async_(values, name=name, op=self._hvd.Sum)

        def wait() -> None:
            with self._others():
                self._hvd.synchronize(handle)

        return wait

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Around all that other ranks take part in."""
        try:
            yield
        except self._error as error:
            first_line = str(error).partition("\n")[0]
            raise RanksLost(f"rank {self.rank} of {self.size} has lost touch with others: {first_line}") from error

    def close(self) -> None:
        self._hvd.shutdown()


class ElasticComm(HorovodComm):
    """A process started by horovodrun --min-np: ranks may be lost and others may come while the run goes on."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        super().__init__()
        from horovod.common.elastic import notification_manager

        notification_manager.init()  # tells horovodrun where it can reach this process
        notification_manager.register_listener(self)

    def on_hosts_updated(self, timestamp: int, update: int) -> None:
        """Called by a thread of Horovod, on rank 0 only."""
        self._changed.set()

    def is_changing(self) -> bool:
        """Whether hosts have come or are about to go, so that `regroup` would make another group; only rank 0 knows."""
        return self._changed.is_set()

    def regroup(self) -> None:
        """Leave this group of ranks and wait for the next: `rank` and `size` are others then. All ranks that are left
        have to call it. The ranks that were there before come first: rank 0 is one of them. Raises RanksLost."""
        self._hvd.shutdown()
        self._changed.clear()  # what is told from here on is about the next group
        self._meet()


def open_comm(environment: Mapping[str, str]) -> Comm:
    """The processes that this one belongs to, by the variables that horovodrun or torchrun has set for it."""
    if "HOROVOD_RANK" in environment:
        return ElasticComm() if environment.get("HOROVOD_ELASTIC") == "1" else HorovodComm()
    if "RANK" in environment:
        return TorchComm(environment)
    return LocalComm()


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
