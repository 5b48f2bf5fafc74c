import pytest
import torch
from torch import Tensor, nn

from ml_images.train import preactivation_resnet
from ml_images.train.preactivation_resnet import BLOCKS, OUTPUTS, Block, PreactivationResNet


@pytest.fixture(scope="module")
def skeleton() -> PreactivationResNet:
    """All shapes of the published network and no weights."""
    with torch.device("meta"):
        return PreactivationResNet(11_166)


def outputs(model: nn.Module, size: int) -> dict[str, torch.Size]:
    """The shape that each module of `model` gives for a picture of that size."""
    shapes: dict[str, torch.Size] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _given, out, name=name: shapes.update({name: out.shape}))
        for name, module in model.named_modules()
    ]
    model(torch.empty(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return shapes


def test_it_has_as_many_parameters_as_the_published_one(skeleton: PreactivationResNet) -> None:
    sizes = {name: parameter.numel() for name, parameter in skeleton.named_parameters()}
    head = sum(size for name, size in sizes.items() if name.startswith("fc."))
    norms = sum(size for name, size in sizes.items() if ".bn" in f".{name}" or "_bn" in name)
    assert sum(sizes.values()) == 65_375_326
    assert (head, norms, sum(sizes.values()) - head - norms) == (22_879_134, 101_376, 42_394_816)
    assert sum(sizes.values()) - head + 1000 * 2049 == 44_545_192  # with ImageNet's classes


@pytest.mark.parametrize(
    ("size", "sides", "giga"), [(224, (112, 56, 28, 14, 7), 7.86), (299, (150, 75, 38, 19, 10), 14.55)]
)
def test_every_stage_halves_the_map_and_the_work_is_the_published(
    skeleton: PreactivationResNet, size: int, sides: tuple[int, ...], giga: float
) -> None:
    shapes = outputs(skeleton, size)
    stages = [shapes["stem"], *(shapes[f"stages.{stage}"] for stage in range(4))]
    assert stages == [
        torch.Size((1, channels, side, side)) for channels, side in zip((64, *OUTPUTS), sides, strict=True)
    ]
    work = sum(
        shapes[name].numel() * module.weight[0].numel()
        for name, module in skeleton.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    )
    assert round(work / 1e9, 2) == giga


def test_the_stride_is_on_the_3x3_and_on_the_shortcut_of_first_blocks_alone(skeleton: PreactivationResNet) -> None:
    strided = {
        name for name, module in skeleton.named_modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    }
    assert strided == {"stem"} | {f"stages.{stage}.0.{part}" for stage in range(4) for part in ("conv2", "shortcut")}
    assert [len(stage) for stage in skeleton.stages] == list(BLOCKS) == [3, 4, 23, 3]


def test_batch_norms_are_the_originals(skeleton: PreactivationResNet) -> None:
    norms = [module for module in skeleton.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 104
    assert {(norm.eps, round(norm.momentum or 0, 12)) for norm in norms} == {(1.001e-5, 0.003)}


def normalised(maps: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm of one's own batch and ReLU, written out."""
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    variance = maps.var(dim=(0, 2, 3), correction=0, keepdim=True)
    scale, shift = norm.weight.view(1, -1, 1, 1), norm.bias.view(1, -1, 1, 1)
    return ((maps - mean) / (variance + 1.001e-5).sqrt() * scale + shift).clamp(min=0)


@pytest.mark.parametrize("first", [True, False])
def test_a_block_is_what_its_description_says(first: bool) -> None:
    torch.manual_seed(3)
    block = Block(8 if first else 16, 16, 2 if first else 1, project=first).double()
    for name, parameter in block.named_parameters():
        if "bn" in name:
            nn.init.uniform_(parameter, 0.5, 2)  # a shortcut that shares its batch norm would be seen
    maps = torch.randn(2, 8 if first else 16, 6, 6, dtype=torch.float64)
    inner = nn.functional.conv2d(normalised(maps, block.bn1), block.conv1.weight)
    inner = nn.functional.conv2d(normalised(inner, block.bn2), block.conv2.weight, stride=2 if first else 1, padding=1)
    inner = nn.functional.conv2d(normalised(inner, block.bn3), block.conv3.weight)
    shortcut = maps
    if first:
        shortcut = nn.functional.conv2d(normalised(maps, block.shortcut_bn), block.shortcut.weight, stride=2)
    assert torch.allclose(block(maps), inner + shortcut, atol=1e-12)


def test_kernels_start_with_a_variance_of_one_over_fan_in_and_the_classifier_as_glorot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preactivation_resnet, "BLOCKS", (1, 1, 1, 2))
    monkeypatch.setattr(preactivation_resnet, "OUTPUTS", (256, 256, 256, 256))
    torch.manual_seed(0)
    model = PreactivationResNet(500)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weight, fan_in = module.weight.detach(), module.weight[0].numel()
            assert float(weight.var()) == pytest.approx(1 / fan_in, rel=0.06), name
            assert 1.9 < float(weight.abs().max()) * 0.8796 * fan_in**0.5 <= 2.001, name
    assert float(model.fc.weight.detach().abs().max()) == pytest.approx((6 / 756) ** 0.5, rel=1e-3)
    assert float(model.fc.bias.detach().abs().max()) == 0
