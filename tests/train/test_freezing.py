import pytest
import torch
from torch import nn

from ml_images.errors import InputError
from ml_images.train.freezing import freeze_stages, stages_of
from ml_images.train.networks import build_network


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("ml_images_resnet101", [["stem", "stages.0"], ["stages.1"], ["stages.2"], ["stages.3"]]),
        ("cifar_net", [["whitening", "stages.0"], ["stages.1"], ["stages.2"]]),
        ("resnet50", [["conv1", "bn1", "layer1"], ["layer2"], ["layer3"], ["layer4"]]),
        ("efficientnet_b0", [[f"features.{number}"] for number in range(9)]),
    ],
)
def test_stages_come_in_order_and_the_first_has_the_stem(name: str, stages: list[list[str]]) -> None:
    with torch.device("meta"):
        assert stages_of(build_network(name, 2)) == stages


def test_two_frozen_stages_are_those_that_fix_block_2_froze() -> None:
    with torch.device("meta"):
        model = build_network("ml_images_resnet101", 2)
    freeze_stages(model, 2)
    learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] + name.split(".")[1] if "stages" in name else name for name in learnt} == {
        "stages2",
        "stages3",
        "bn.weight",
        "bn.bias",
        "fc.weight",
        "fc.bias",
    }


@pytest.mark.parametrize(("name", "count"), [("cifar_net", 1), ("resnet18", 2), ("tiny_cnn", 6)])
def test_a_step_leaves_all_of_a_frozen_stage_as_it_was_and_moves_the_rest(name: str, count: int) -> None:
    torch.manual_seed(0)
    model = build_network(name, 3)
    frozen = tuple(f"{part}." for stage in stages_of(model)[:count] for part in stage)
    freeze_stages(model, count)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)
    for _ in range(2):  # the last batch norm of a block starts at zero, and lets nothing through in the first
        model.train()
        optimizer.zero_grad()
        (model(torch.randn(4, 3, 64, 64)) ** 2).sum().backward()
        optimizer.step()
    still = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert still == {name for name in before if name.startswith(frozen)} | fixed


def test_as_many_stages_as_there_are_cannot_be_frozen() -> None:
    with pytest.raises(InputError, match=r"model.frozen_stages must be less than this network's 3 stages, got 3"):
        freeze_stages(build_network("cifar_net", 2), 3)


def test_a_network_of_unknown_order_says_so() -> None:
    with pytest.raises(InputError, match=r"model.frozen_stages: the stages of a Sequential are not known"):
        freeze_stages(nn.Sequential(nn.Conv2d(3, 3, 1)), 1)
