import math

import pytest
import torch
from torch import nn

from ml_images.train.label_counts import LabelCounts, start_from_prior


def test_outputs_start_at_the_share_of_images_that_have_the_class() -> None:
    model = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
    first = model[0].bias.clone()
    start_from_prior(model, LabelCounts(torch.tensor([1, 50, 75]), 100))
    bias = model[2].bias.detach()
    assert bias.sigmoid().tolist() == pytest.approx([0.01, 0.5, 0.75])
    assert float(bias[0]) == pytest.approx(-4.595, abs=1e-3)
    assert torch.equal(model[0].bias, first)


def test_classes_that_are_never_or_always_there_have_finite_biases() -> None:
    prior = LabelCounts(torch.tensor([0, 100]), 100).prior()
    assert prior.tolist() == [0.005, 0.995]
    assert torch.logit(prior).abs().max() == pytest.approx(math.log(199))


def test_expected_counts_are_counts() -> None:
    assert LabelCounts(torch.tensor([2.5]), 10).prior().tolist() == [0.25]


@pytest.mark.parametrize("layer", [nn.Linear(4, 2), nn.Linear(4, 3, bias=False), nn.ReLU()])
def test_a_network_that_does_not_end_in_these_classes_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match="no last linear layer with 3 biases"):
        start_from_prior(nn.Sequential(layer), LabelCounts(torch.ones(3), 10))
