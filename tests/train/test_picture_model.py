import io
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_builder import COLOURS, jpeg
from numpy.testing import assert_allclose
from PIL import Image
from trained_builder import untrained, write_checkpoint

from ml_images.train.decode import decode_crop
from ml_images.train.heads import head_of
from ml_images.train.picture_model import PictureModel, as_jpeg
from ml_images.train.trained import Trained, load_trained
from ml_images.train.transforms import Preprocessing, evaluation_crop, normalise
from ml_images.train.views import choose_views, mean_prediction

CPU = torch.device("cpu")
PICTURES = [jpeg(colour, width=70, height=50, seed=seed) for seed, colour in enumerate(COLOURS)]
CUT = jpeg(COLOURS[0], width=40, height=320)[:-300]  # of its last rows, which no crop of the middle needs


def trained(folder: Path, name: str = "tiny_cnn", kind: Preprocessing = "standard") -> Trained:
    return load_trained(write_checkpoint(folder, untrained(name), name=name, data={"evaluation": kind}))


def pixels(data: bytes, view: int, crops: int, kind: Preprocessing) -> torch.Tensor:
    out = np.empty((32, 32, 3), np.uint8)
    decode_crop(data, choose_views(kind, crops)[view], out)
    return normalise(torch.from_numpy(out).permute(2, 0, 1)[None], kind)


def in_format(format: str) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(PICTURES[3])).save(out, format)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["standard", "ml_images", "ml_images_single"])
def test_logits_are_those_of_the_crop_that_training_evaluates(kind: Preprocessing, tmp_path: Path) -> None:
    model = untrained()
    found = PictureModel(trained(tmp_path, kind=kind), CPU, threads=2).logits(PICTURES)
    assert found.outcomes == ["ok"] * 6
    out = np.empty((6, 32, 32, 3), np.uint8)
    for data, slot in zip(PICTURES, out, strict=True):
        decode_crop(data, evaluation_crop(kind), slot)
    assert torch.equal(found.values, model(normalise(torch.from_numpy(out).permute(0, 3, 1, 2), kind)))
    assert found.values.std(dim=0).min() > 0.1  # each picture has its own


def test_ten_crops_give_the_logits_of_the_mean_probability(tmp_path: Path) -> None:
    model = untrained()
    found = PictureModel(trained(tmp_path), CPU, crops=10).logits(PICTURES[:2])
    for data, logits in zip(PICTURES, found.values, strict=False):
        views = [model(pixels(data, view, 10, "standard")) for view in range(10)]
        assert_allclose(logits, mean_prediction(views, "sigmoid")[0].detach(), atol=1e-5)
    assert not torch.allclose(found.values, PictureModel(trained(tmp_path), CPU).logits(PICTURES[:2]).values, atol=1e-3)


def test_what_cannot_be_read_has_an_outcome_and_the_others_their_own_values(tmp_path: Path) -> None:
    model = PictureModel(trained(tmp_path), CPU)
    alone = model.logits(PICTURES[:2]).values
    odd = [b"", PICTURES[0], b"no picture", b"\xff\xd8\xff broken", PICTURES[1], in_format("PNG")[:60]]
    found = model.logits(odd)
    assert found.outcomes == ["not_an_image", "ok", "not_an_image", "undecodable", "ok", "undecodable"]
    assert_allclose(found.values, alone, atol=1e-5)
    assert set(found.details) == {0, 2, 3, 5}
    assert all(found.details.values())


@pytest.mark.parametrize("name", ["tiny_cnn", "resnet18"])
def test_nothing_but_broken_pictures_gives_no_values(name: str, tmp_path: Path) -> None:
    model = PictureModel(trained(tmp_path, name), CPU)
    assert model.logits([b"x", b"y"]).values.shape == (0, 6)
    assert model.features([b"x"]).values.shape == (0, {"tiny_cnn": 64, "resnet18": 512}[name])


def test_a_picture_that_was_cut_off_is_refused_where_nobody_has_looked_at_it_before(tmp_path: Path) -> None:
    found = PictureModel(trained(tmp_path), CPU, verify=True).logits([PICTURES[1], CUT])
    assert found.outcomes == ["ok", "undecodable"]


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_other_formats_are_read_too(format: str, tmp_path: Path) -> None:
    found = PictureModel(trained(tmp_path), CPU, verify=True).logits([PICTURES[3], in_format(format)])
    assert found.outcomes == ["ok", "ok"]
    assert_allclose(found.values[1], found.values[0], atol=0.3)


def test_a_jpeg_stays_as_it_is() -> None:
    assert as_jpeg(PICTURES[0]) is PICTURES[0]


@pytest.mark.parametrize("name", ["tiny_cnn", "resnet18", "squeezenet1_1"])
def test_features_are_what_the_head_is_given(name: str, tmp_path: Path) -> None:
    network = trained(tmp_path, name)
    model = PictureModel(network, CPU)
    features = model.features(PICTURES).values
    assert features.shape == (6, network.num_features)
    assert torch.equal(features, model.features(PICTURES).values)
    assert not head_of(network.model)[1]._forward_pre_hooks
    if name != "squeezenet1_1":  # there a ReLU comes behind the head
        head = untrained(name).get_submodule("fc")
        assert_allclose(head(features).detach(), model.logits(PICTURES).values, atol=1e-4)
