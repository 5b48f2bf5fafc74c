import pytest
import torch
from torch.nn import functional

from ml_images.train.cifar_net import CifarNet, whiten


def test_it_has_the_papers_size_but_for_the_bias_of_the_classifier() -> None:
    model = CifarNet(10)
    learnt = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256) + 12 * 24
    assert learnt == convolutions + 24 + 2 * (64 + 256 + 256) + 256 * 10 + 10


@pytest.mark.parametrize("size", [16, 32, 64])
def test_pictures_of_other_sizes_go_through_as_well(size: int) -> None:
    assert CifarNet(7)(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_a_picture_is_31_15_7_and_3_pixels_wide_on_its_way() -> None:
    model = CifarNet(10)
    widths: list[int] = []
    for part in (model.whitening, *model.stages):
        part.register_forward_hook(lambda _part, _given, out: widths.append(out.shape[-1]))
    model(torch.zeros(1, 3, 32, 32))
    assert widths == [31, 15, 7, 3]


def test_the_convolutions_start_by_handing_channels_on() -> None:
    stage = CifarNet(10).stages[0]
    maps = torch.randn(1, 24, 8, 8)
    assert torch.equal(stage.conv1(maps)[:, :24], maps)


def test_batch_norm_learns_a_shift_and_no_scale() -> None:
    norm = CifarNet(10).stages[1].bn2
    assert (norm.weight.requires_grad, norm.bias.requires_grad) == (False, True)
    assert norm.weight.detach().unique().tolist() == [1]


def test_after_whitening_patches_are_uncorrelated_and_of_variance_one() -> None:
    torch.manual_seed(0)
    mix = torch.randn(3, 3)
    images = functional.avg_pool2d(torch.einsum("ij,njhw->nihw", mix, torch.randn(200, 3, 34, 34)), 3, 1) * 50 + 1
    model = CifarNet(10)
    whiten(model, images)
    found = model.whitening(images)[:, :12].transpose(0, 1).reshape(12, -1)
    assert torch.allclose(torch.cov(found.detach()), torch.eye(12), atol=0.02)
    weight = model.whitening.weight
    assert torch.equal(weight[12:], -weight[:12])
    assert model.whitening.bias is not None and not model.whitening.bias.any()
