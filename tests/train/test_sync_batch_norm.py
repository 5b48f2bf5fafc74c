import copy
import threading

import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from torch import Tensor, nn

from ml_images.train.comm import LocalComm
from ml_images.train.networks import build_network
from ml_images.train.sync_batch_norm import SyncBatchNorm2d, synchronise_batch_norms


def norm(channels: int = 3) -> nn.BatchNorm2d:
    torch.manual_seed(5)
    layer = nn.BatchNorm2d(channels, momentum=0.3)
    nn.init.uniform_(layer.weight, 0.5, 2)
    nn.init.uniform_(layer.bias, -1, 1)
    return layer


def synchronised(layer: nn.Module, comm: LocalComm) -> nn.Module:
    model = nn.Sequential(copy.deepcopy(layer))
    synchronise_batch_norms(model, comm)
    return model


@pytest.mark.parametrize("counts", [(8,), (4, 4), (2, 2, 2, 2), (1, 6, 1), (5, 3)])
def test_ranks_together_are_one_batch_norm_over_all_images(counts: tuple[int, ...]) -> None:
    """Outputs, running statistics and the gradients of maps, weight and bias, in float64."""
    layer = norm().double()
    torch.manual_seed(1)
    maps = (torch.randn(8, 3, 4, 5, dtype=torch.float64) * 3 + 7).requires_grad_()
    slopes = torch.randn(8, 3, 4, 5, dtype=torch.float64)
    whole = copy.deepcopy(layer)
    expected = whole(maps)
    expected.backward(slopes)
    assert maps.grad is not None

    def rank(comm: ThreadComm) -> tuple[Tensor, Tensor, nn.BatchNorm2d]:
        model = synchronised(layer, comm)
        own = maps.detach().split(counts)[comm.rank].clone().requires_grad_()
        out = model(own)
        out.backward(slopes.split(counts)[comm.rank])
        assert own.grad is not None
        return out.detach(), own.grad, model[0]

    answers = on_ranks(len(counts), rank)
    assert torch.allclose(torch.cat([out for out, _, _ in answers]), expected.detach(), atol=1e-12)
    assert torch.allclose(torch.cat([gradient for _, gradient, _ in answers]), maps.grad, atol=1e-12)
    for name in ("weight", "bias"):
        parts = [getattr(found, name).grad for _, _, found in answers]
        assert torch.allclose(torch.stack(parts).sum(dim=0), getattr(whole, name).grad, atol=1e-12), name
    for _, _, found in answers:
        for name, buffer in whole.named_buffers():
            assert torch.allclose(getattr(found, name), buffer, atol=1e-12), name


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = synchronised(norm().double(), LocalComm())
    maps = torch.randn(3, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (maps,))


def test_a_mean_of_ten_thousand_deviations_does_not_drown_the_variance() -> None:
    layer = norm()
    maps = torch.randn(16, 3, 8, 8) * 0.01 + 100
    exact = copy.deepcopy(layer).double()(maps.double()).float()
    halves = on_ranks(2, lambda comm: synchronised(layer, comm)(maps.chunk(2)[comm.rank]).detach())
    assert torch.allclose(torch.cat(halves), exact, atol=0.01)


def test_bfloat16_maps_keep_their_type_and_float32_statistics() -> None:
    layer = norm()
    maps = (torch.randn(64, 3, 32, 32) + 3).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    model = synchronised(layer, LocalComm())
    out = model(maps)
    out.float().sum().backward()
    assert maps.grad is not None
    assert (out.dtype, maps.grad.dtype, model[0].weight.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    mean = maps.detach().double().mean(dim=(0, 2, 3))
    assert torch.allclose(model[0].running_mean.double(), 0.3 * mean, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_in_evaluation_it_is_the_ordinary_one_and_ranks_need_not_meet() -> None:
    layer = norm()
    layer(torch.randn(8, 3, 4, 4) + 2)
    alone = ThreadComm(0, 2, threading.Barrier(2, timeout=1), {})  # nobody else comes
    maps = torch.randn(2, 3, 4, 4)
    assert torch.equal(synchronised(layer, alone).eval()(maps), layer.eval()(maps))


def test_the_state_has_the_names_and_values_of_before() -> None:
    model = build_network("tiny_cnn", 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    synchronise_batch_norms(model, LocalComm())
    assert sum(isinstance(module, SyncBatchNorm2d) for module in model.modules()) == 3
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in before.items()
    }
