import math

import pytest
import torch
from torch import nn

from ml_images.train.label_counts import LabelCounts, start_from_prior
from ml_images.train.networks import WithoutMemory, build_network


def test_outputs_start_at_the_share_of_images_that_have_the_class() -> None:
    model = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
    first = model[0].bias.clone()
    start_from_prior(model, LabelCounts(torch.tensor([1, 50, 75]), 100))
    bias = model[2].bias.detach()
    assert bias.sigmoid().tolist() == pytest.approx([0.01, 0.5, 0.75])
    assert float(bias[0]) == pytest.approx(-4.595, abs=1e-3)
    assert torch.equal(model[0].bias, first)


def test_a_softmax_starts_at_the_share_of_images_of_each_class() -> None:
    model = nn.Linear(4, 3)
    start_from_prior(model, LabelCounts(torch.tensor([900, 90, 10]), 1000), "softmax")
    assert model.bias.detach().softmax(dim=0).tolist() == pytest.approx([0.9, 0.09, 0.01])


def test_classes_that_are_never_or_always_there_have_finite_biases() -> None:
    prior = LabelCounts(torch.tensor([0, 100]), 100).prior()
    assert prior.tolist() == [0.005, 0.995]
    assert torch.logit(prior).abs().max() == pytest.approx(math.log(199))


def test_expected_counts_are_counts() -> None:
    assert LabelCounts(torch.tensor([2.5]), 10).prior().tolist() == [0.25]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("maxvit_t", r"^its head 'classifier\.5' has no biases$"),
        ("squeezenet1_1", r"^its head 'classifier\.1' is a convolution with a ReLU behind it, so no output is"),
    ],
)
def test_a_network_whose_head_cannot_start_at_the_shares_is_refused(name: str, says: str) -> None:
    with WithoutMemory():
        model = build_network(name, 3)
    with pytest.raises(ValueError, match=says):
        start_from_prior(model, LabelCounts(torch.ones(3), 10))
