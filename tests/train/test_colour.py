import colorsys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_images.train import colour

levels = st.floats(0, 1, width=32)


def one(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)


@given(levels, levels, levels)
def test_hsv_is_that_of_the_standard_library(red, green, blue):
    hue, saturation, value = (float(part) for part in colour.to_hsv(one(red, green, blue)))
    wanted = colorsys.rgb_to_hsv(red, green, blue)
    assert abs(saturation - wanted[1]) < 1e-4 and abs(value - wanted[2]) < 1e-6
    if wanted[1] * wanted[2] > 1e-3:
        assert min(abs(hue - wanted[0]), 1 - abs(hue - wanted[0])) < 1e-3
    back = colour.to_rgb(*colour.to_hsv(one(red, green, blue)))
    assert torch.allclose(back, one(red, green, blue), atol=1e-4)


def test_hue_saturation_and_contrast_do_what_they_say():
    assert torch.allclose(colour.adjust_hue(one(1, 0, 0), torch.tensor([1 / 3])), one(0, 1, 0), atol=1e-5)
    assert torch.allclose(colour.adjust_hue(one(1, 0, 0), torch.tensor([-1 / 3])), one(0, 0, 1), atol=1e-5)
    assert torch.allclose(colour.adjust_saturation(one(0.8, 0.4, 0.4), torch.tensor([0.0])), one(0.8, 0.8, 0.8))
    assert torch.allclose(colour.adjust_saturation(one(0.8, 0.4, 0.4), torch.tensor([5.0])), one(0.8, 0, 0), atol=1e-6)
    images = torch.tensor([0.2, 0.6]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert torch.allclose(colour.adjust_contrast(images, torch.tensor([0.5]))[0, 0, 0], torch.tensor([0.3, 0.5]))


def test_rotation_is_pillows_of_the_nearest_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (41, 41, 3), np.uint8)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    for degrees in (30.0, -45.0, 12.5):
        wanted = np.asarray(Image.fromarray(pixels).rotate(degrees, Image.Resampling.NEAREST)).astype(int)
        found = (colour.rotate(images, torch.tensor([degrees]))[0].permute(1, 2, 0) * 255).round().numpy().astype(int)
        assert (np.abs(found - wanted).max(axis=2) > 1).mean() < 0.02  # ties at the border of two pixels


def chances(kind: float, **others: float) -> torch.Tensor:
    """All others change nothing: the middle of their ranges."""
    names = ("kind", "angle", "brightness", "saturation", "hue", "contrast")
    return torch.tensor([[{"kind": kind, **others}.get(name, 0.5) for name in names]])


def test_a_third_of_the_pictures_of_ml_images_stays_as_it_is_and_another_is_not_turned():
    images = torch.rand(1, 3, 16, 16) * 0.6 + 0.2
    wild = {"angle": 0.9, "brightness": 0.9, "saturation": 0.9, "hue": 0.1, "contrast": 0.2}
    assert torch.equal(colour.ml_images(images, chances(0.9, **wild)), images)
    assert not torch.allclose(colour.ml_images(images, chances(0.5, **wild)), images, atol=0.05)
    assert torch.allclose(colour.ml_images(images, chances(0.5, angle=0.9)), images, atol=1e-4)
    assert not torch.allclose(colour.ml_images(images, chances(0.1, angle=0.9)), images, atol=0.05)


def test_the_two_orders_of_colours_differ():
    images = torch.rand(1, 3, 8, 8)
    wild = {"saturation": 0.95, "contrast": 0.95, "hue": 0.8, "brightness": 0.9}
    first, second = (colour.ml_images(images, chances(kind, **wild)) for kind in (0.1, 0.5))
    assert not torch.allclose(first, second, atol=0.02)
    bright = images + (0.9 * 2 - 1) * 32 / 255
    saturation, contrast, hue = torch.tensor([1.45]), torch.tensor([1.45]), torch.tensor([0.12])
    wanted = colour.adjust_contrast(colour.adjust_hue(colour.adjust_saturation(bright, saturation), hue), contrast)
    assert torch.allclose(first, wanted, atol=1e-4)
    wanted = colour.adjust_hue(colour.adjust_saturation(colour.adjust_contrast(bright, contrast), saturation), hue)
    assert torch.allclose(second, wanted, atol=1e-4)


def test_each_picture_of_a_batch_has_chances_of_its_own():
    images = torch.rand(1, 3, 8, 8).repeat(2, 1, 1, 1)
    found = colour.jitter(images, torch.cat([chances(0, brightness=0.1), chances(0, brightness=0.9)]), 0.4)
    assert found[0].mean() < images[0].mean() < found[1].mean()
    assert torch.allclose(colour.jitter(images, torch.rand(2, 6), 0.0), images, atol=1e-5)
