import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from ml_images.schemas import UNKNOWN
from ml_images.train.losses import multilabel_bce

CELL = st.tuples(st.floats(-20, 20), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0, UNKNOWN]))


def slow_bce(logits: list[list[float]], targets: list[list[float]]) -> float:
    """The definition, cell by cell: sum over known classes, mean over images."""
    total = 0.0
    for row, wanted in zip(logits, targets, strict=True):
        for x, y in zip(row, wanted, strict=True):
            if y != UNKNOWN:
                total += y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x))
    return total / len(logits)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=4))
def test_equals_the_definition_cell_by_cell(cells: list[list[tuple[float, float]]]) -> None:
    logits = [[x for x, _ in row] for row in cells]
    targets = [[y for _, y in row] for row in cells]
    loss = multilabel_bce(torch.tensor(logits, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64))
    assert float(loss) == torch.tensor(slow_bce(logits, targets)).item() or math.isclose(
        float(loss), slow_bce(logits, targets), rel_tol=1e-6, abs_tol=1e-9
    )


def test_a_known_value() -> None:
    logits = torch.zeros(2, 3)
    targets = torch.tensor([[1.0, 0.0, UNKNOWN], [0.7, UNKNOWN, UNKNOWN]])
    assert math.isclose(float(multilabel_bce(logits, targets)), 3 * math.log(2) / 2, rel_tol=1e-6)


def test_unknown_cells_get_no_gradient_even_from_an_infinite_logit() -> None:
    logits = torch.tensor([[2.0, math.inf], [0.5, -1.0]], requires_grad=True)
    multilabel_bce(logits, torch.tensor([[1.0, UNKNOWN], [UNKNOWN, 0.0]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert logits.grad[1, 0] == 0
    assert logits.grad[0, 0] != 0
    assert logits.grad[1, 1] != 0


def test_soft_targets_have_their_minimum_at_their_confidence() -> None:
    logits = torch.logit(torch.tensor([[0.7]])).requires_grad_()
    multilabel_bce(logits, torch.tensor([[0.7]])).backward()
    assert logits.grad is not None
    assert abs(float(logits.grad)) < 1e-6
