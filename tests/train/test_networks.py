import pytest
import torch
from torch import nn

from ml_images.train.networks import build_network, check_name


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "cifar_net", "tiny_cnn"])
def test_networks_turn_images_into_logits(name: str) -> None:
    assert build_network(name, 7)(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_the_original_network_turns_images_into_logits() -> None:
    with torch.device("meta"):
        assert build_network("ml_images_resnet101", 7)(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_more_heads_give_logits_alone(name: str) -> None:
    with torch.device("meta"):
        logits = build_network(name, 7).train()(torch.zeros(2, 3, 96, 96))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 7)


@pytest.mark.parametrize(("name", "last"), [("resnet18", "bn2"), ("resnext50_32x4d", "bn3")])
def test_residual_blocks_start_as_identities(name: str, last: str) -> None:
    block = build_network(name, 2).layer1[0]
    assert float(getattr(block, last).weight.detach().abs().max()) == 0


def test_the_tiny_network_is_as_small_as_its_help_says() -> None:
    assert 20_000 < sum(parameter.numel() for parameter in build_network("tiny_cnn", 10).parameters()) < 30_000


def test_the_same_seed_gives_the_same_weights() -> None:
    heads: list[nn.Module] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        heads.append(build_network("tiny_cnn", 2).fc)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


def test_a_name_that_does_not_exist_is_met_with_those_that_come_close() -> None:
    for name in ("ml_images_resnet101", "cifar_net", "tiny_cnn", "convnext_tiny", "wide_resnet50_2"):
        check_name(name)
    with pytest.raises(ValueError, match=r"model.name must be one of .*tiny_cnn .*\(resnet50.*\), got 'resnet500'"):
        check_name("resnet500")
    with pytest.raises(ValueError, match=r"got 'fcn_resnet50'"):  # a segmentation network
        check_name("fcn_resnet50")
