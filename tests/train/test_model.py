import pytest
import torch
from torch import nn

from ml_images.errors import InputError
from ml_images.train.batch_norm import FrozenBatchNorm2d
from ml_images.train.comm import LocalComm
from ml_images.train.model import ModelConfig, build_model
from ml_images.train.sync_batch_norm import SyncBatchNorm2d


def norms(model: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d)}


def test_resnet_101_has_the_published_size_and_one_output_a_class() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(), 11_166)
    # torchvision's figure for 1,000 classes, with another last layer.
    assert sum(parameter.numel() for parameter in model.parameters()) == 44_549_160 + (11_166 - 1_000) * (2048 + 1)


def test_batch_norms_are_of_the_kind_that_was_asked_for() -> None:
    assert norms(build_model(ModelConfig("tiny_cnn"), 2)) == {nn.BatchNorm2d}
    assert norms(build_model(ModelConfig("tiny_cnn", batch_norm="frozen"), 2)) == {FrozenBatchNorm2d}
    synchronised = build_model(ModelConfig("tiny_cnn", batch_norm="synchronised"), 2, LocalComm())
    assert norms(synchronised) == {SyncBatchNorm2d}


def test_the_kind_of_batch_norm_changes_no_weight() -> None:
    states = []
    for config in (ModelConfig("tiny_cnn"), ModelConfig("tiny_cnn", batch_norm="synchronised", frozen_stages=1)):
        torch.manual_seed(4)
        states.append(build_model(config, 2, LocalComm()).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_frozen_stages_stand_still_within_a_synchronised_network() -> None:
    model = build_model(ModelConfig("resnet18", frozen_stages=2, batch_norm="synchronised"), 2, LocalComm())
    assert norms(model.layer1) == norms(model.layer2) == {type(model.bn1)} == {FrozenBatchNorm2d}
    assert norms(model.layer3) == norms(model.layer4) == {SyncBatchNorm2d}
    assert not any(parameter.requires_grad for parameter in model.layer2.parameters())
    assert all(parameter.requires_grad for parameter in model.layer3.parameters())


def test_of_a_whitening_layer_the_bias_alone_is_trained() -> None:
    layer = build_model(ModelConfig("cifar_net", whitening=True), 2).whitening
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (False, True)
    assert build_model(ModelConfig("cifar_net"), 2).whitening.weight.requires_grad
    with pytest.raises(ValueError, match=r"model.whitening=true needs model.name=cifar_net, got resnet101"):
        ModelConfig(whitening=True)


def test_synchronised_batch_norms_without_ranks_are_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        build_model(ModelConfig("tiny_cnn", batch_norm="synchronised"), 2)


def test_unknown_names_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model.name must be one of ml_images_resnet101, .*got 'resnet9000'"):
        ModelConfig("resnet9000")
    with pytest.raises(ValueError, match=r"model.frozen_stages must be >= 0, got -1"):
        ModelConfig(frozen_stages=-1)
    with pytest.raises(InputError, match=r"model.frozen_stages must be less than this network's 4 stages, got 4"):
        build_model(ModelConfig("resnet18", frozen_stages=4), 2)
