"""How long a step of data-parallel training takes on many GPUs, from what one GPU and one connection do.

Backward hands out gradients from the last layer to the first. Whenever the connection is free, all that is ready is
joined, up to the size of a buffer, and added up over all GPUs; the step is over when the last sum is there.
So what counts is not the bytes alone but when they are ready: the large layers at the end of VGG-16 are sent while all
of backward still lies ahead, and whatever comes with the first layer of a network hides behind nothing.

Left out: switches that add up by themselves, and reading, which must keep up (`loader_cores`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

BACKWARD = 2 / 3  # of a step's arithmetic: gradients of inputs and of weights each cost what forward does
FUSION_BYTES = 64 << 20  # Horovod's buffer, HOROVOD_FUSION_THRESHOLD


@dataclass(frozen=True)
class Layer:
    work: float  # multiply-adds of one picture, forward
    num_bytes: int  # of its gradients on their way


@dataclass(frozen=True)
class Network:
    name: str
    layers: tuple[Layer, ...]  # as forward goes through them

    @property
    def num_bytes(self) -> int:
        return sum(layer.num_bytes for layer in self.layers)


@dataclass(frozen=True)
class Link:
    """Between neighbours of the ring or tree. GPUs of one server share its connection, but a ring enters and leaves a
    server once, so all of it belongs to one GPU's stream."""

    bytes_per_s: float  # what a sum gets out of it
    hop_s: float  # that each hop takes whatever its bytes, with what the ranks have to agree on
    tree: bool = False  # NCCL before 2.4 knew rings only


def sum_s(num_bytes: float, ranks: int, link: Link) -> float:
    """Seconds of one sum over `ranks`.

    Each sends and receives 2 (ranks - 1) / ranks of the bytes, which no way of adding up undercuts: a ring in as many
    hops (Patarasuk and Yuan 2009, doi 10.1016/j.jpdc.2008.09.002), two trees in 2 log2(ranks) (Sanders, Speck and Traff
    2009, doi 10.1016/j.parco.2009.09.001).
    """
    hops = 2 * math.ceil(math.log2(ranks)) if link.tree else 2 * (ranks - 1)
    return 2 * (ranks - 1) / ranks * num_bytes / link.bytes_per_s + hops * link.hop_s


def arrivals(network: Network, backward_s: float) -> Iterator[tuple[float, int]]:
    """(seconds after the start of backward, bytes) of each layer's gradients, in the order in which they are ready."""
    whole, done = sum(layer.work for layer in network.layers), 0.0
    for layer in reversed(network.layers):
        done += layer.work
        yield backward_s * done / whole, layer.num_bytes


def summed_s(network: Network, backward_s: float, ranks: int, link: Link, buffer_bytes: int = FUSION_BYTES) -> float:
    """Seconds from the start of backward until the last gradient is summed over `ranks`; a layer that is larger than
    the buffer goes alone."""
    waiting = list(arrivals(network, backward_s))
    now = 0.0
    while waiting:
        now = max(now, waiting[0][0])
        joined, taken = 0, 0
        for ready_s, num_bytes in waiting:
            if ready_s > now or (taken and joined + num_bytes > buffer_bytes):
                break
            joined, taken = joined + num_bytes, taken + 1
        del waiting[:taken]
        now += sum_s(joined, ranks, link)
    return now


def step_s(network: Network, compute_s: float, ranks: int, link: Link, contention: float = 0.0) -> float:
    """Seconds of a step on `ranks` GPUs when forward and backward take `compute_s` on one GPU alone.

    contention: share by which they take longer where gradients are sent beside them, and the slowest rank is waited
    for.
    """
    if ranks == 1:
        return compute_s
    slowed_s = compute_s * (1 + contention)
    backward_s = slowed_s * BACKWARD
    return slowed_s + max(0.0, summed_s(network, backward_s, ranks, link) - backward_s)


def efficiency(network: Network, compute_s: float, ranks: int, link: Link, contention: float = 0.0) -> float:
    """Images/s of `ranks` GPUs, of `ranks` times those of one."""
    return compute_s / step_s(network, compute_s, ranks, link, contention)


def loader_cores(images_per_s: float, cpu_s: float) -> float:
    """Cores that a GPU which takes in `images_per_s` keeps busy with reading, at `cpu_s` CPU seconds a picture."""
    return images_per_s * cpu_s
