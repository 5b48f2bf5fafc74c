import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from ml_images.train.single_label import SoftmaxConfig, SoftmaxLoss
from ml_images.train.targets import from_dense

UNKNOWN = -1.0


def slow(x: list[list[float]], y: list[list[float]], smoothing: float) -> float:
    total = 0.0
    for logits, wanted in zip(x, y, strict=True):
        known = [c for c, one in enumerate(wanted) if one != UNKNOWN]
        amount = sum(wanted[c] for c in known)
        if amount == 0:
            continue
        normaliser = math.log(sum(math.exp(logits[c]) for c in known))
        for c in known:
            share = (1 - smoothing) * wanted[c] / amount + smoothing / len(known)
            total -= share * (logits[c] - normaliser)
    return total / len(x)


@given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.1]))
def test_equals_the_definition_image_by_image(random: object, smoothing: float) -> None:
    x = [[random.uniform(-6, 6) for _ in range(4)] for _ in range(3)]
    y = [[random.choice([0.0, 0.0, 0.5, 1.0, UNKNOWN]) for _ in range(4)] for _ in range(3)]
    logits = torch.tensor(x, requires_grad=True)
    rows = torch.ones(3, dtype=torch.bool)
    found = SoftmaxLoss(SoftmaxConfig(smoothing))(logits, from_dense(torch.tensor(y), rows))
    assert float(found.detach()) == pytest.approx(slow(x, y, smoothing), rel=1e-4, abs=1e-6)
    found.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[torch.tensor(y) == UNKNOWN] == 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_one_class_an_image_it_is_torchs_own(smoothing: float) -> None:
    x, classes = torch.randn(6, 9), torch.randint(9, (6,))
    told = torch.nn.functional.one_hot(classes, 9).float()
    found = SoftmaxLoss(SoftmaxConfig(smoothing))(x, from_dense(told, torch.ones(6, dtype=torch.bool)))
    assert float(found) == pytest.approx(float(cross_entropy(x, classes, label_smoothing=smoothing)), rel=1e-5)


def test_rows_that_do_not_count_add_nothing_but_divide() -> None:
    x = torch.tensor([[0.0, 0.0], [math.nan, math.inf]], requires_grad=True)
    loss = SoftmaxLoss(SoftmaxConfig(0.1))(x, from_dense(torch.eye(2), torch.tensor([True, False])))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2) / 2)
    assert x.grad is not None
    assert x.grad[1].tolist() == [0, 0]


def test_impossible_smoothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss.softmax.label_smoothing must be in \[0, 1\), got 1"):
        SoftmaxConfig(1)
