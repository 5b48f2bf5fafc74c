import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_threads import on_ranks
from torch import Tensor

from ml_images.train.comm import Comm, LocalComm
from ml_images.train.targets import from_dense
from ml_images.train.two_way import TwoWayConfig, TwoWayLoss

UNKNOWN = -1.0


def of_line(x: list[float], y: list[float], t_p: float, t_n: float) -> float | None:
    """The loss of one image, or of one class; None without a positive."""
    positives = [a for a, b in zip(x, y, strict=True) if b >= 0.5]
    negatives = [a for a, b in zip(x, y, strict=True) if 0 <= b < 0.5]
    if not positives:
        return None
    if not negatives:
        return 0.0
    both = t_n * math.log(sum(math.exp(a / t_n) for a in negatives))
    both += t_p * math.log(sum(math.exp(-a / t_p) for a in positives))
    return math.log1p(math.exp(both))


def slow(x: list[list[float]], y: list[list[float]], t_p: float, t_n: float) -> float:
    total = 0.0
    for lines in (zip(x, y, strict=True), zip(zip(*x, strict=True), zip(*y, strict=True), strict=True)):
        losses = [of_line(list(a), list(b), t_p, t_n) for a, b in lines]
        there = [loss for loss in losses if loss is not None]
        total += sum(there) / max(1, len(there))
    return total


def run(comm: Comm, x: Tensor, y: Tensor, config: TwoWayConfig | None = None) -> tuple[float, Tensor]:
    x = x.clone().requires_grad_()
    value = TwoWayLoss(config or TwoWayConfig(), comm)(x, from_dense(y, torch.ones(len(y), dtype=torch.bool)))
    value.backward()
    assert x.grad is not None
    return float(value.detach()), x.grad


def test_a_known_value() -> None:
    x, y = [2.0, 0.0, -1.0, -3.0, 1.0], [1.0, 1.0, 0.0, 0.0, 0.0]
    assert of_line(x, y, 4, 1) == pytest.approx(3.08600032, abs=1e-8)
    # The image's loss; its classes with a positive have no other image, hence nothing to be above of.
    assert run(LocalComm(), torch.tensor([x]), torch.tensor([y]))[0] == pytest.approx(3.08600032, abs=1e-6)


@given(st.randoms(use_true_random=False), st.sampled_from([(4.0, 1.0), (1.0, 2.5)]))
def test_equals_the_definition_line_by_line(random: object, temperatures: tuple[float, float]) -> None:
    x = [[random.uniform(-6, 6) for _ in range(4)] for _ in range(3)]
    y = [[random.choice([0.0, 0.4, 0.5, 1.0, UNKNOWN]) for _ in range(4)] for _ in range(3)]
    found, gradient = run(LocalComm(), torch.tensor(x), torch.tensor(y), TwoWayConfig(*temperatures))
    assert found == pytest.approx(slow(x, y, *temperatures), rel=1e-4, abs=1e-5)
    assert gradient.isfinite().all()
    assert (gradient[torch.tensor(y) == UNKNOWN] == 0).all()


def test_gradients_are_those_of_the_values() -> None:
    y = torch.tensor([[1.0, 0.0, UNKNOWN], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    loss = TwoWayLoss(TwoWayConfig(), LocalComm())
    targets = from_dense(y, torch.tensor([True, True, True]))
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), (torch.randn(3, 3).double().requires_grad_(),))


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_together_have_the_loss_and_the_gradients_of_one_process(size: int) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 10, generator=generator)
    y = (torch.rand(8, 10, generator=generator) < 0.15).float()
    y[5] = 0
    y[:, 3] = 0
    assert int(y.any(1).sum()) == 7
    whole, gradient = run(LocalComm(), x, y)

    def part(comm: Comm) -> tuple[float, Tensor]:
        share = slice(comm.rank * 8 // size, (comm.rank + 1) * 8 // size)
        return run(comm, x[share], y[share])

    ranks = on_ranks(size, part)
    assert sum(value for value, _ in ranks) / size == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(torch.cat([own for _, own in ranks]) / size, gradient, rtol=1e-4, atol=1e-7)


def test_a_batch_without_a_positive_has_no_loss() -> None:
    value, gradient = run(LocalComm(), torch.randn(2, 3), torch.zeros(2, 3))
    assert value == 0 == gradient.abs().max()


def test_impossible_temperatures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss.two_way.positive_temperature must be > 0 and finite, got 0"):
        TwoWayConfig(positive_temperature=0)
