"""What an optimizer remembers, as named tensors: for checkpoints, which hold nothing else, and for the other ranks."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ml_images.train.comm import Comm


def state_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """`<parameter>.<what>` -> tensor (not a copy): momentum_buffer, exp_avg, step, ... Empty before the first step."""
    return {
        f"{name}.{what}": value
        for name, parameter in model.named_parameters()
        for what, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_state_tensors(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give `optimizer` copies of `tensors`, named as by `state_tensors`; parameters without any begin anew.

    What has a parameter's shape lies in memory as the parameter does, channels last or not, whatever `tensors` do: an
    optimizer makes it so, and norms (of LAMB) add up in the order of memory, so that another one rounds otherwise.
    """
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        optimizer.state.pop(parameter, None)
    for name, tensor in tensors.items():
        owner, _, what = name.rpartition(".")
        parameter = parameters[owner]
        device = torch.device("cpu") if what == "step" else parameter.device  # torch counts steps on the CPU
        like = parameter if parameter.shape == tensor.shape else tensor
        room = torch.empty_like(like, dtype=tensor.dtype, device=device)
        optimizer.state[parameter][what] = room.copy_(tensor.detach())


def share_state(model: nn.Module, optimizer: Optimizer, comm: Comm) -> None:
    """Give every rank what rank 0's optimizer remembers."""
    own = state_tensors(model, optimizer)
    shapes = {name: list(tensor.shape) for name, tensor in own.items()}
    told = comm.broadcast_json(shapes, "optimizer_state")
    if comm.rank:
        load_state_tensors(model, optimizer, {name: torch.zeros(shape) for name, shape in told.items()})
    comm.broadcast(state_tensors(model, optimizer))
