import pytest
import torch
from torch import nn

from ml_images.train.lars import TRUST, Lars


def slow(weight: list[float], gradients: list[list[float]], lr: float, momentum: float, decay: float) -> list[float]:
    """Algorithm 1, number by number."""
    w, v = list(weight), [0.0] * len(weight)
    for g in gradients:
        norm_w, norm_g = sum(x * x for x in w) ** 0.5, sum(x * x for x in g) ** 0.5
        local = TRUST * norm_w / (norm_g + decay * norm_w) if norm_w and norm_g + decay * norm_w else 1.0
        v = [momentum * b + lr * local * (a + decay * x) for a, b, x in zip(g, v, w, strict=True)]
        w = [x - b for x, b in zip(w, v, strict=True)]
    return w


def stepped(weight: list[float], gradients: list[list[float]], **options: object) -> list[float]:
    parameter = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    optimizer = Lars([parameter], **options)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return parameter.detach().tolist()


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("weight", [[3.0, -4.0], [0.0, 0.0]])
def test_steps_are_those_of_the_paper(weight: list[float], decay: float) -> None:
    gradients = [[1.0, 2.0], [-0.5, 0.1], [100.0, 0.0]]
    expected = slow(weight, gradients, 0.1, 0.9, decay)
    assert stepped(weight, gradients, lr=0.1, momentum=0.9, weight_decay=decay) == pytest.approx(expected, rel=1e-12)


def test_a_step_does_not_depend_on_the_length_of_the_gradient() -> None:
    short, long = (stepped([3.0, -4.0], [[scale, 0.0]], lr=1.0) for scale in (1e-4, 1e4))
    assert short == pytest.approx([3 - 5 * TRUST, -4])
    assert long == pytest.approx(short)


def test_groups_that_do_not_adapt_take_the_step_of_sgd() -> None:
    gradients = [[1.0, 2.0], [-0.5, 0.1], [100.0, 0.0]]
    parameter = nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    sgd = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        sgd.step()
    found = stepped([3.0, -4.0], gradients, lr=0.1, momentum=0.9, weight_decay=0.01, adapt=False)
    assert found == pytest.approx(parameter.tolist())


def test_weights_without_a_gradient_stay() -> None:
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    optimizer = Lars(parameters, lr=1.0)
    parameters[0].grad = torch.ones(2)
    optimizer.step()
    assert parameters[0].tolist() != parameters[1].tolist() == [1, 1]
