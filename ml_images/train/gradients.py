"""Gradients averaged over ranks while backward still runs; the same for every engine that can add up.

A parameter's gradient joins its bucket as soon as it is whole, and a whole bucket is sent while autograd works on the
layers before it. Buckets leave in one and the same order on every rank, as engines without names of their own need it.
Numbers travel in the order in which the parameter has them in memory, channels last or not: bringing them into another
and back takes as long as adding them up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

Compression = Literal["none", "fp16", "bf16"]  # of gradients on their way between ranks

Wait = Callable[[], None]
StartSum = Callable[[Tensor, str], Wait]  # adds `values` up over ranks, in place; they are there after the wait

_ON_THE_WIRE = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Bucket:
    """Parameters whose gradients travel together, contiguous and in the type of the wire."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], size: int, compression: Compression) -> None:
        self.name = f"gradient.{named[0][0]}"
        self.parameters = [parameter for _, parameter in named]
        self.ready: set[int] = set()
        self._size = size
        self._type = _ON_THE_WIRE.get(compression, self.parameters[0].dtype)
        self._flat: Tensor | None = None  # kept from step to step; None while the gradient itself is sent
        self._wait: Wait | None = None

    def start(self, start_sum: StartSum) -> None:
        """Send the gradients, divided by the number of ranks before they are made smaller: sums must not overflow."""
        gradients = [self._gradient(parameter) for parameter in self.parameters]
        if len(gradients) == 1 and gradients[0].dtype == self._type and _are_alike(gradients[0], self.parameters[0]):
            flat, self._flat = _line(gradients[0]).div_(self._size), None  # nothing to join, cast or bring into order
        else:
            flat = self._flat = self._buffer()
            for gradient, part in zip(gradients, self._parts(flat), strict=True):
                torch.div(gradient, self._size, out=part)
        self._wait = start_sum(flat, self.name)

    def finish(self) -> None:
        """Wait for the averages and put them where the gradients were."""
        assert self._wait is not None
        self._wait()
        if self._flat is not None:
            for parameter, part in zip(self.parameters, self._parts(self._flat), strict=True):
                self._gradient(parameter).copy_(part)
        self._wait = None
        self.ready.clear()

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        """Zeros for a parameter that this rank's batch did not use: others' may have."""
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad

    def _buffer(self) -> Tensor:
        if self._flat is not None:
            return self._flat
        numbers = sum(parameter.numel() for parameter in self.parameters)
        return torch.empty(numbers, dtype=self._type, device=self.parameters[0].device)

    def _parts(self, flat: Tensor) -> list[Tensor]:
        sizes = [parameter.numel() for parameter in self.parameters]
        return [_shaped(part, p) for part, p in zip(flat.split(sizes), self.parameters, strict=True)]


def _is_channels_last(tensor: Tensor) -> bool:
    """And not contiguous as well, as a filter of one pixel is."""
    return not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _are_alike(one: Tensor, other: Tensor) -> bool:
    """Of one shape: do both have the same numbers at the same places of their memory, without gaps?"""
    if one.is_contiguous() and other.is_contiguous():
        return True
    return _is_channels_last(one) and _is_channels_last(other)


def _line(tensor: Tensor) -> Tensor:
    """All numbers in the order of memory, without a copy."""
    return (tensor.permute(0, 2, 3, 1) if _is_channels_last(tensor) else tensor).view(-1)


def _shaped(line: Tensor, like: Tensor) -> Tensor:
    """What `_line` makes undone: a view of `line` in the shape of `like`, and in its order if that is channels last."""
    if _is_channels_last(like):
        count, channels, height, width = like.shape
        return line.view(count, height, width, channels).permute(0, 3, 1, 2)
    return line.view(like.shape)


class GradientAverage:
    """The mean over ranks of the gradients of `model`: begun by backward, there after `wait()`.

    Made before training starts, on every rank, of the same model. `bucket_bytes` joins small gradients up to that
    many bytes; 0 sends each alone, for engines that join them themselves. In a run of one rank it does nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        size: int,
        start_sum: StartSum,
        bucket_bytes: int = 0,
        compression: Compression = "none",
    ) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._start_sum = start_sum
        self._buckets = [Bucket(part, size, compression) for part in _split(named[::-1], bucket_bytes)]
        self._next = 0  # bucket to send
        self._begun = self._paused = False
        if size == 1:
            self._buckets = []
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._ready, bucket))
            for bucket in self._buckets
            for parameter in bucket.parameters
        ]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within: gradients add up on this rank and stay there, for the batches before the last of an accumulation."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def wait(self) -> None:
        """After this all gradients are those of all ranks; before clipping, and before the optimizer's step.

        A second call without a backward between does nothing.
        """
        if not self._begun:
            return
        self._send(everything=True)
        for bucket in self._buckets:
            bucket.finish()
        self._next, self._begun = 0, False

    def close(self) -> None:
        """Look at the model's gradients no more, which another average may do then. What was begun is forgotten."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._buckets, self._begun = [], [], False

    def _ready(self, bucket: Bucket, parameter: Tensor) -> None:
        if self._paused:
            return
        if id(parameter) in bucket.ready:
            raise RuntimeError("a second backward before the step: put all but the last one into `paused()`")
        self._begun = True
        bucket.ready.add(id(parameter))
        self._send(everything=False)

    def _send(self, everything: bool) -> None:
        while self._next < len(self._buckets):
            bucket = self._buckets[self._next]
            if not everything and len(bucket.ready) < len(bucket.parameters):
                return
            bucket.start(self._start_sum)
            self._next += 1


def _split(named: list[tuple[str, nn.Parameter]], bucket_bytes: int) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Runs of parameters of one type with at most `bucket_bytes`, or one parameter."""
    run: list[tuple[str, nn.Parameter]] = []
    held = 0
    for name, parameter in named:
        needed = parameter.numel() * parameter.element_size()
        if run and (held + needed > bucket_bytes or parameter.dtype != run[0][1].dtype):
            yield run
            run, held = [], 0
        run.append((name, parameter))
        held += needed
    if run:
        yield run
