"""The table of known values was worked out apart from this code, to eight decimals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml_images.train.cell_losses import (
    AsymmetricConfig,
    CellwiseLoss,
    FocalConfig,
    asymmetric,
    bce,
    focal,
    shifted_negative,
)
from ml_images.train.targets import from_dense

# logit: cross-entropy, focal (alpha 0.25, gamma 2), asymmetric (gammas 0 and 4, margin 0.05), each positive, negative
KNOWN = {
    -4.0: (4.01814993, 0.01814993, 0.96872681, 0.0000044, 4.01814993, 0.0),
    -2.0: (2.12692801, 0.12692801, 0.41251954, 0.00135267, 2.12692801, 0.00000164),
    0.0: (0.69314718, 0.69314718, 0.0433217, 0.1299651, 0.69314718, 0.02451505),
    2.0: (0.12692801, 2.12692801, 0.00045089, 1.23755863, 0.12692801, 0.84641495),
    4.0: (0.01814993, 4.01814993, 0.00000147, 2.90618043, 0.01814993, 2.02857645),
}
GAMMA_1 = {-4.0: 3.94587864, -2.0: 1.87339198, 0.0: 0.34657359, 2.0: 0.01513019, 4.0: 0.00032645}
LOGITS, CONFIDENCES = st.floats(-20, 20), st.sampled_from([0.0, 0.3, 0.7, 1.0])


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slow(x: float, y: float, gamma_positive: float, gamma_negative: float, margin: float) -> float:
    """The asymmetric loss of one cell, as it is written down."""
    p = 1 / (1 + math.exp(-x))
    shifted = max(p - margin, 0)
    positive = -((1 - p) ** gamma_positive) * math.log(p)
    return y * positive - (1 - y) * shifted**gamma_negative * math.log(1 - shifted)


@pytest.mark.parametrize("x", KNOWN)
def test_known_values(x: float) -> None:
    logits, values = tensor(x, x), tensor(1, 0)
    found = [
        *bce(logits, values),
        *focal(logits, values, 2.0, 0.25),
        *asymmetric(logits, values, AsymmetricConfig()),
    ]
    assert [float(loss) for loss in found] == pytest.approx(KNOWN[x], abs=6e-9)
    gamma_1 = asymmetric(tensor(x), tensor(1), AsymmetricConfig(gamma_positive=1))
    assert float(gamma_1) == pytest.approx(GAMMA_1[x], abs=6e-9)


@given(LOGITS, CONFIDENCES, st.sampled_from([0, 0.5, 1, 3]), st.sampled_from([0, 0.5, 2, 4]), st.sampled_from([0, 0.2]))
def test_the_asymmetric_loss_is_its_formula(x: float, y: float, plus: float, minus: float, margin: float) -> None:
    found = asymmetric(tensor(x), tensor(y), AsymmetricConfig(plus, minus, margin))
    assert float(found) == pytest.approx(slow(x, y, plus, minus, margin), rel=1e-6, abs=1e-12)


@given(LOGITS, CONFIDENCES, st.sampled_from([0, 0.5, 2]), st.sampled_from([None, 0.25, 0.6]))
def test_the_focal_loss_is_its_formula(x: float, y: float, gamma: float, alpha: float | None) -> None:
    p = 1 / (1 + math.exp(-x))
    a, b = (1, 1) if alpha is None else (alpha, 1 - alpha)
    expected = -y * a * (1 - p) ** gamma * math.log(p) - (1 - y) * b * p**gamma * math.log(1 - p)
    assert float(focal(tensor(x), tensor(y), gamma, alpha)) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.lists(st.tuples(LOGITS, CONFIDENCES), min_size=1, max_size=5))
def test_without_focus_both_are_cross_entropy_and_so_are_their_gradients(cells: list[tuple[float, float]]) -> None:
    values = tensor(*(y for _, y in cells))
    losses = []
    for loss in (
        bce,
        lambda x, y: focal(x, y, 0.0, None),
        lambda x, y: asymmetric(x, y, AsymmetricConfig(0, 0, 0)),
    ):
        logits = tensor(*(x for x, _ in cells)).requires_grad_()
        loss(logits, values).sum().backward()
        losses.append(torch.stack([loss(logits, values).detach(), logits.grad]))
    assert torch.allclose(losses[1], losses[0], rtol=1e-9, atol=1e-12)
    assert torch.allclose(losses[2], losses[0], rtol=1e-9, atol=1e-12)


def test_negatives_below_the_margin_have_no_loss_and_no_gradient() -> None:
    edge = math.log(0.05 / 0.95)
    for gamma in (0.0, 0.5, 4.0):
        logits = tensor(-100, edge - 1e-6, edge + 1e-3).requires_grad_()
        losses = shifted_negative(logits, gamma, 0.05)
        losses.sum().backward()
        assert logits.grad is not None
        assert losses[:2].tolist() == [0, 0] == logits.grad[:2].tolist()
        assert losses[2] > 0
        assert logits.grad[2] > 0


def test_a_negative_at_the_margin_itself_has_no_gradient_either() -> None:
    for gamma in (0.5, 4.0):
        logits = torch.zeros(1, requires_grad=True)
        shifted_negative(logits, gamma, 0.5).sum().backward()
        assert logits.grad is not None
        assert logits.grad.tolist() == [0]


@pytest.mark.parametrize("x", [-3.0, -0.5, 0.0, 2.5])
def test_gradients_are_those_of_the_values(x: float) -> None:
    logits = tensor(x, x, x).requires_grad_()
    values = tensor(0, 0.4, 1)
    assert torch.autograd.gradcheck(lambda x: focal(x, values, 2.0, 0.25), (logits,))
    assert torch.autograd.gradcheck(lambda x: asymmetric(x, values, AsymmetricConfig(1, 4, 0.05)), (logits,))


def test_extreme_logits_have_finite_losses_and_gradients() -> None:
    values = torch.tensor([1.0, 0.0, 0.5])
    for x in (-1e4, 1e4):
        for config in (AsymmetricConfig(), AsymmetricConfig(0, 0, 0), AsymmetricConfig(1, 0.5, 0)):
            for loss in (lambda x, y, c=config: asymmetric(x, y, c), lambda x, y: focal(x, y, 0.5, 0.25)):
                logits = torch.full((3,), x, requires_grad=True)
                losses = loss(logits, values)
                losses.sum().backward()
                assert logits.grad is not None
                assert losses.isfinite().all()
                assert logits.grad.isfinite().all()


def test_the_mean_is_over_all_images_of_the_batch_and_the_sum_over_known_cells() -> None:
    told = torch.tensor([[1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])
    loss = CellwiseLoss(bce)(torch.zeros(3, 2), from_dense(told, torch.tensor([True, True, False])))
    assert float(loss) == pytest.approx(3 * math.log(2) / 3)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: FocalConfig(gamma=-1), "loss.focal.gamma must be >= 0 and finite, got -1"),
        (lambda: FocalConfig(alpha=1), r"loss.focal.alpha must be in \(0, 1\) or null, got 1"),
        (lambda: AsymmetricConfig(gamma_negative=math.inf), "loss.asymmetric.gamma_negative must be .* got inf"),
        (lambda: AsymmetricConfig(margin=1), r"loss.asymmetric.margin must be in \[0, 1\), got 1"),
    ],
)
def test_impossible_numbers_are_refused(make: object, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()
