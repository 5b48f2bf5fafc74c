import math

import pytest
import torch

from ml_images.train.model import ModelConfig, OptimConfig, build_model, build_optimizer


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet_101_has_the_published_size_and_one_output_a_class() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(), 11_166)
    # torchvision's figure for 1,000 classes, with another last layer.
    assert parameters(model) == 44_549_160 + (11_166 - 1_000) * (2048 + 1)


@pytest.mark.parametrize("name", ["resnet18", "tiny_cnn"])
def test_networks_turn_images_into_logits(name: str) -> None:
    assert build_model(ModelConfig(name), 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_tiny_network_is_as_small_as_its_help_says() -> None:
    assert 20_000 < parameters(build_model(ModelConfig("tiny_cnn"), 10)) < 30_000


def test_residual_blocks_start_as_identities() -> None:
    model = build_model(ModelConfig("resnet18"), 2)
    assert float(model.layer1[0].bn2.weight.detach().abs().max()) == 0


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(build_model(ModelConfig("tiny_cnn"), 2).fc.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_only_weights_are_decayed() -> None:
    model = build_model(ModelConfig("tiny_cnn"), 2)
    optimizer = build_optimizer(OptimConfig(weight_decay=0.5), model)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    all_of_them = [p for group in optimizer.param_groups for p in group["params"]]
    assert decayed == {id(p) for name, p in model.named_parameters() if name.endswith("weight") and p.ndim > 1}
    assert len(all_of_them) == len(list(model.parameters()))


def test_unknown_names_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model.name must be one of resnet18, .*got 'resnet9000'"):
        ModelConfig("resnet9000")
    with pytest.raises(ValueError, match=r"optim.lr must be > 0 and finite, got 0"):
        OptimConfig(lr=0)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"optim.lr must be > 0 and finite, got {bad}"):
            OptimConfig(lr=bad)
        with pytest.raises(ValueError, match=rf"optim.weight_decay must be >= 0 and finite, got {bad}"):
            OptimConfig(weight_decay=bad)
        with pytest.raises(ValueError, match=rf"optim.momentum must be in \[0, 1\), got {bad}"):
            OptimConfig(momentum=bad)
    with pytest.raises(ValueError, match=r"optim.momentum must be in \[0, 1\), got 1"):
        OptimConfig(momentum=1)
    with pytest.raises(ValueError, match=r"optim.weight_decay must be >= 0 and finite, got -1"):
        OptimConfig(weight_decay=-1)
