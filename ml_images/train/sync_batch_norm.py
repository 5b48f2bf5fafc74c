"""Batch norm over the batches of all ranks together, wherever Comm can add up: on CPUs too.

torch's own needs NCCL, Horovod's needs GPUs. With this one a step on N ranks with B / N images each is the step on one
rank with B images. It costs two small sums a layer and step: 2 C + 1 numbers forward, 2 C backward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml_images.train.batch_norm import replace_batch_norms
from ml_images.train.comm import Comm

_OVER = (0, 2, 3)  # batch, height, width: what a channel's statistics are taken over


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the ranks of `comm`; `name` is the layer's own, the same on every rank.

    Ranks may have different numbers of images. In evaluation it is the ordinary one.
    """

    def __init__(self, features: int, *, name: str, comm: Comm, eps: float, momentum: float | None) -> None:
        super().__init__(features, eps=eps, momentum=momentum)
        self.name, self.comm = name, comm

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape and type."""
        return self._over_ranks(maps) if self.training else super().forward(maps)

    @torch.compiler.disable  # ranks meet here, which no compiler may move
    def _over_ranks(self, maps: Tensor) -> Tensor:
        mean, variance, count = _statistics(maps.detach(), lambda own: self.comm.sum(own, f"{self.name}.forward"))
        self._follow(mean, variance, count)
        return _Normalise.apply(
            maps,
            self.weight,
            self.bias,
            mean,
            variance,
            count,
            self.eps,
            lambda own: self.comm.sum(own, f"{self.name}.backward"),
        )

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics as torch's batch norm does: the variance is the unbiased one."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
            assert running is not None
            running.lerp_(now.to(running.dtype), share)


def synchronise_batch_norms(model: nn.Module, comm: Comm) -> None:
    """Let every batch norm of `model` normalise over all ranks."""
    replace_batch_norms(
        model,
        lambda name, norm: SyncBatchNorm2d(
            norm.num_features, name=name, comm=comm, eps=norm.eps, momentum=norm.momentum
        ),
    )


def _statistics(maps: Tensor, total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and (biased) variance of each channel over all ranks, and how many values each had; float64.

    The sum of squares is made from the variance in float64: as a difference of float32 sums it would lose all digits
    where the mean is a thousand deviations.
    """
    channels = maps.shape[1]
    variance, mean = (part.double() for part in torch.var_mean(_precise(maps), dim=_OVER, correction=0))
    count = mean.new_tensor([maps.numel() / channels])
    sums = total(torch.cat([mean * count, (variance + mean.square()) * count, count]))
    count = sums[-1]
    mean = sums[:channels] / count
    return mean, (sums[channels:-1] / count - mean.square()).clamp_(min=0), count


class _Normalise(torch.autograd.Function):
    """Scale and shift by statistics over ranks, whose dependence on the maps of all ranks the gradient includes.

    The derivation is that of Ioffe and Szegedy 2015 (arXiv 1502.03167, section 3) with the two sums over the batch
    taken over all ranks. Gradients of weight and bias are this rank's own, as those of every other layer are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        total: Callable[[Tensor], Tensor],
    ) -> Tensor:
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(maps, weight, mean, inverse, count)
        ctx.total = total
        kind = weight.dtype
        return functional.batch_norm(maps, mean.to(kind), variance.to(kind), weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, inverse, count = ctx.saved_tensors
        (given,) = gradients
        kind, channels = weight.dtype, maps.shape[1]
        slope = _precise(given)
        normal = (_precise(maps) - _wide(mean.to(kind))).mul_(_wide(inverse.to(kind)))
        of_bias, of_weight = slope.sum(_OVER), (slope * normal).sum(_OVER)
        sums = ctx.total(torch.cat([of_bias, of_weight]).double()) / count
        normal.mul_(_wide(sums[channels:].to(kind))).add_(_wide(sums[:channels].to(kind)))
        of_maps = (slope - normal).mul_(_wide((weight.double() * inverse).to(kind))).to(maps.dtype)
        return of_maps, of_weight, of_bias, None, None, None, None, None


def _precise(maps: Tensor) -> Tensor:
    """At least float32: sums of bfloat16 stop growing after some hundred terms."""
    return maps.float() if maps.dtype in (torch.bfloat16, torch.float16) else maps


def _wide(per_channel: Tensor) -> Tensor:
    return per_channel.view(1, -1, 1, 1)
