import pytest
import torch
from torch import nn

from ml_images.train.lamb import EPSILON, Lamb

GRADIENTS = [[1.0, 2.0], [-0.5, 0.1], [100.0, 0.0]]


def slow(weight: list[float], lr: float, betas: tuple[float, float], decay: float, adapt: bool) -> list[float]:
    """Algorithm 2, number by number."""
    w, m, v = list(weight), [0.0] * len(weight), [0.0] * len(weight)
    for t, g in enumerate(GRADIENTS, start=1):
        m = [betas[0] * a + (1 - betas[0]) * b for a, b in zip(m, g, strict=True)]
        v = [betas[1] * a + (1 - betas[1]) * b * b for a, b in zip(v, g, strict=True)]
        u = [
            a / (1 - betas[0] ** t) / ((b / (1 - betas[1] ** t)) ** 0.5 + EPSILON) + decay * x
            for a, b, x in zip(m, v, w, strict=True)
        ]
        norm_w, norm_u = sum(x * x for x in w) ** 0.5, sum(x * x for x in u) ** 0.5
        ratio = norm_w / norm_u if adapt and norm_w and norm_u else 1.0
        w = [x - lr * ratio * a for x, a in zip(w, u, strict=True)]
    return w


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("weight", [[3.0, -4.0], [0.0, 0.0]])
def test_steps_are_those_of_the_paper(weight: list[float], decay: float, adapt: bool) -> None:
    parameter = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    optimizer = Lamb([parameter], lr=0.01, betas=(0.8, 0.99), weight_decay=decay, adapt=adapt)
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    assert parameter.tolist() == pytest.approx(slow(weight, 0.01, (0.8, 0.99), decay, adapt), rel=1e-6)


def test_gradients_are_left_as_they_are() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, -2.0])
    Lamb([parameter], lr=0.01).step()
    assert parameter.grad.tolist() == [1, -2]
