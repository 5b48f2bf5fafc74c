import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ml_images.train.cell_losses import AsymmetricConfig, CellwiseLoss, asymmetric
from ml_images.train.partial_labels import SelectiveConfig, SelectiveLoss
from ml_images.train.targets import from_dense

UNKNOWN = -1.0
ANNOTATED = AsymmetricConfig(gamma_positive=0, gamma_negative=1, margin=0)


def slow(x: list[list[float]], told: list[list[float]], prior: list[float], config: SelectiveConfig) -> float:
    """The definition, cell by cell."""
    total = 0.0
    for logits, wanted in zip(x, told, strict=True):
        unknown = [c for c, y in enumerate(wanted) if y == UNKNOWN]
        likeliest = sorted(unknown, key=lambda c: logits[c], reverse=True)[: config.top_k]
        for c, y in enumerate(wanted):
            p = 1 / (1 + math.exp(-logits[c]))
            if y != UNKNOWN:
                total += -y * math.log(p) - (1 - y) * p * math.log(1 - p)
            elif c not in likeliest and prior[c] <= config.prior_max:
                total -= config.weight * p**config.gamma * math.log(1 - p)
    return total / len(x)


@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_equals_the_definition_cell_by_cell(random: object, top_k: int) -> None:
    x = torch.tensor([[random.uniform(-6, 6) for _ in range(5)] for _ in range(3)]).tolist()
    assume(all(len(set(logits)) == 5 for logits in x))  # which of two equal ones is the likelier is not promised
    told = [[random.choice([0.0, 1.0, UNKNOWN, UNKNOWN]) for _ in range(5)] for _ in range(3)]
    prior = [0.2, 0.001, 0.04, 0.05, 0.06]
    config = SelectiveConfig(gamma=3, weight=0.5, top_k=top_k)
    loss = SelectiveLoss(config, ANNOTATED, torch.tensor(prior))
    found = loss(torch.tensor(x), from_dense(torch.tensor(told), torch.ones(3, dtype=torch.bool)))
    assert float(found) == pytest.approx(slow(x, told, prior, config), rel=1e-4, abs=1e-6)


def gradient(loss: SelectiveLoss, logits: list[list[float]], told: list[list[float]], rows: list[bool]) -> torch.Tensor:
    x = torch.tensor(logits, requires_grad=True)
    loss(x, from_dense(torch.tensor(told), torch.tensor(rows))).backward()
    assert x.grad is not None
    return x.grad


def test_the_likeliest_of_each_image_and_frequent_classes_have_no_say() -> None:
    loss = SelectiveLoss(SelectiveConfig(top_k=1), ANNOTATED, torch.tensor([0.5, 0.01, 0.01, 0.01]))
    told = [[UNKNOWN, UNKNOWN, UNKNOWN, 0.0], [UNKNOWN, UNKNOWN, UNKNOWN, 1.0]]
    found = gradient(loss, [[0.0, 2.0, 1.0, 3.0], [0.0, 1.0, 2.0, 3.0]], told, [True, True])
    assert (found != 0).tolist() == [[False, False, True, True], [False, True, False, True]]


def test_rows_that_do_not_count_make_no_negatives() -> None:
    loss = SelectiveLoss(SelectiveConfig(top_k=0), ANNOTATED, torch.zeros(2))
    found = gradient(loss, [[1.0, 1.0], [math.inf, math.nan]], [[UNKNOWN, 1.0], [1.0, 0.0]], [True, False])
    assert (found != 0).tolist() == [[True, True], [False, False]]


def test_where_all_is_annotated_it_is_the_asymmetric_loss() -> None:
    x, y = torch.randn(4, 6), (torch.rand(4, 6) < 0.3).float()
    targets = from_dense(y, torch.ones(4, dtype=torch.bool))
    config = AsymmetricConfig()
    plain = CellwiseLoss(lambda logits, values: asymmetric(logits, values, config))
    assert torch.equal(SelectiveLoss(SelectiveConfig(), config, torch.ones(6))(x, targets), plain(x, targets))


def test_more_likeliest_than_classes_are_all_of_them() -> None:
    loss = SelectiveLoss(SelectiveConfig(top_k=9), ANNOTATED, torch.zeros(2))
    assert not gradient(loss, [[1.0, 2.0]], [[UNKNOWN, UNKNOWN]], [True]).any()


@pytest.mark.parametrize("bad", [{"gamma": -1}, {"weight": math.nan}, {"top_k": -1}, {"prior_max": 2}])
def test_impossible_numbers_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"loss.selective.{name} must be .*, got {bad[name]}"):
        SelectiveConfig(**bad)
