import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml_images.train.balanced_loss import BalancedConfig, BalancedLoss
from ml_images.train.cell_losses import CellwiseLoss, bce
from ml_images.train.label_counts import LabelCounts
from ml_images.train.targets import Targets, from_dense

UNKNOWN = -1.0
COUNTS = LabelCounts(torch.tensor([1000, 10, 100]), 5000)


def told(rows: list[list[float]]) -> Targets:
    return from_dense(torch.tensor(rows), torch.ones(len(rows), dtype=torch.bool))


def test_known_weights() -> None:
    weights = BalancedLoss(BalancedConfig(), COUNTS).weights(told([[1.0, 1.0, 0.0]]))
    assert weights[0].tolist() == pytest.approx([0.22999646, 1.09962976, 0.36699923], abs=1e-6)


def test_an_image_without_a_positive_has_the_largest_weight_throughout() -> None:
    weights = BalancedLoss(BalancedConfig(), COUNTS).weights(told([[0.0, 0.4, UNKNOWN]]))
    assert weights[0].tolist() == pytest.approx([1.1] * 3)


def slow(x: list[list[float]], y: list[list[float]], counts: list[int], images: int, config: BalancedConfig) -> float:
    total = 0.0
    for logits, wanted in zip(x, y, strict=True):
        rare = sum(1 / n for n, one in zip(counts, wanted, strict=True) if one >= 0.5)
        for logit, one, n in zip(logits, wanted, counts, strict=True):
            if one == UNKNOWN:
                continue
            rise = 1.0 if rare == 0 else 1 / (1 + math.exp(-config.beta * (1 / n / rare - config.mu)))
            z = logit - config.bias_share * math.log(images / n - 1)
            s = config.negative_scale
            p, p_scaled = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(-s * z))
            positive = -((1 - p) ** config.gamma) * math.log(p)
            negative = -(p_scaled**config.gamma) * math.log(1 - p_scaled) / s
            total += (config.alpha + rise) * (one * positive + (1 - one) * negative)
    return total / len(x)


@given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5, 2.0]))
def test_equals_the_definition_cell_by_cell(random: object, gamma: float) -> None:
    counts = [1000, 10, 100, 1]
    x = [[random.uniform(-6, 6) for _ in counts] for _ in range(3)]
    y = [[random.choice([0.0, 0.4, 0.8, 1.0, UNKNOWN]) for _ in counts] for _ in range(3)]
    config = BalancedConfig(gamma=gamma, negative_scale=3, bias_share=0.2)
    loss = BalancedLoss(config, LabelCounts(torch.tensor(counts), 5000))
    found = float(loss(torch.tensor(x), told(y)))
    assert found == pytest.approx(slow(x, y, counts, 5000, config), rel=1e-4, abs=1e-6)


def test_with_all_of_it_switched_off_it_is_half_as_much_again_of_cross_entropy() -> None:
    config = BalancedConfig(alpha=1, beta=0, bias_share=0, negative_scale=1, gamma=0)  # weights 1 + sigmoid(0)
    x, targets = torch.randn(2, 3), told([[1.0, 0.0, 0.3], [0.0, UNKNOWN, 1.0]])
    expected = 1.5 * CellwiseLoss(bce)(x, targets)
    assert float(BalancedLoss(config, COUNTS)(x, targets)) == pytest.approx(float(expected), rel=1e-5)


def test_classes_without_an_image_are_as_rare_as_those_with_one() -> None:
    loss = BalancedLoss(BalancedConfig(), LabelCounts(torch.tensor([0, 1, 100]), 100))
    weights = loss.weights(told([[1.0, 0.0, 0.0]]))
    assert weights[0, 0] == weights[0, 1]
    assert loss(torch.zeros(1, 3), told([[1.0, 0.0, 0.0]])).isfinite()


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss.distribution_balanced.beta must be >= 0 and finite, got -1"):
        BalancedConfig(beta=-1)
    with pytest.raises(ValueError, match=r"loss.distribution_balanced.negative_scale must be > 0 and finite, got 0"):
        BalancedConfig(negative_scale=0)
