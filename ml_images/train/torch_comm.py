"""The processes that torchrun started: torch.distributed, gloo between CPUs and NCCL between GPUs.

For places where Horovod is gone. Which process this is stands in the variables that torchrun sets.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ml_images.errors import InputError
from ml_images.train.gradients import Compression, GradientAverage, Wait

BUCKET_BYTES = 25 << 20  # as in DistributedDataParallel: large enough for the network, small enough to overlap
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class TorchComm:
    """A process started by torchrun. With several GPUs a process takes the one of its local rank.

    There are no names of collectives here: all ranks must ask for the same ones in the same order.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        missing = [name for name in VARIABLES if name not in environment]
        if missing:
            raise InputError(f"RANK is set as torchrun does, but {', '.join(missing)} is not: start with torchrun")
        self.rank, self.size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        self.local_rank, self.local_size = int(environment["LOCAL_RANK"]), int(environment["LOCAL_WORLD_SIZE"])
        backend = "gloo"
        if torch.cuda.is_available():
            take_gpu(self.local_rank, self.local_size)
            backend = "cpu:gloo,cuda:nccl"  # metrics and counters are on the host
        dist.init_process_group(
            backend,
            init_method=f"tcp://{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}",
            rank=self.rank,
            world_size=self.size,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "TorchComm":
        return self  # copies of a model that holds it are in the same process

    def sum(self, values: Tensor, name: str) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def gather(self, rows: Tensor, name: str) -> Tensor:
        counts = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        dist.all_reduce(counts)
        most = int(counts.max())
        padded = rows.new_zeros(most, *rows.shape[1:])  # all_gather wants equal shapes
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])

    def broadcast(self, tensors: Mapping[str, Tensor]) -> None:
        for tensor in tensors.values():
            ordered = tensor.detach().contiguous()
            dist.broadcast(ordered, src=0)
            if ordered.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(ordered)

    def broadcast_json(self, value: Any, name: str) -> Any:
        text = json.dumps(value).encode() if self.rank == 0 else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, src=0)
        letters = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.zeros(int(length)).byte()
        dist.broadcast(letters, src=0)
        return json.loads(bytes(letters.tolist()))

    def average_gradients(self, model: nn.Module, compression: Compression = "none") -> GradientAverage:
        return GradientAverage(model, self.size, _start_sum, BUCKET_BYTES, compression)

    def close(self) -> None:
        dist.destroy_process_group()


def _start_sum(values: Tensor, name: str) -> Wait:
    work = dist.all_reduce(values, async_op=True)

    def wait() -> None:
        work.wait()

    return wait


def take_gpu(local_rank: int, local_size: int) -> None:
    """Work on the GPU of this rank; InputError where the machine has fewer GPUs than processes."""
    if local_size > torch.cuda.device_count():
        raise InputError(f"{local_size} processes on a machine with {torch.cuda.device_count()} GPUs")
    torch.cuda.set_device(local_rank)
