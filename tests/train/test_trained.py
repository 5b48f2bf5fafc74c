from pathlib import Path
from typing import Any

import pytest
import torch
from trained_builder import untrained, write_checkpoint

from ml_images.errors import InputError
from ml_images.train.trained import load_trained

PICTURES = torch.rand(4, 3, 40, 40)


def test_the_network_comes_back_as_it_was_in_evaluation_mode(tmp_path: Path) -> None:
    model = untrained(num_classes=11)
    found = load_trained(write_checkpoint(tmp_path, model, data={"image_size": 48, "evaluation": "ml_images"}))
    assert (found.num_classes, found.image_size, found.preprocessing, found.step) == (11, 48, "ml_images", 7)
    assert not found.model.training
    assert not found.is_mean
    assert torch.equal(found.model(PICTURES), model(PICTURES))


def test_the_mean_of_weights_is_preferred_to_the_last_ones(tmp_path: Path) -> None:
    last, mean = untrained(seed=1), untrained(seed=2)
    found = load_trained(write_checkpoint(tmp_path, last, mean))
    assert found.is_mean
    assert torch.equal(found.model(PICTURES), mean(PICTURES))


@pytest.mark.parametrize(
    ("loss", "activation", "unlisted"),
    [
        (None, "sigmoid", "absent"),
        ({"name": "bce", "unlisted": "ignore"}, "sigmoid", "unknown"),
        ({"name": "softmax", "unlisted": "negative"}, "softmax", "absent"),
    ],
)
def test_scores_and_lists_mean_what_they_meant_to_the_loss(
    loss: dict[str, Any] | None, activation: str, unlisted: str, tmp_path: Path
) -> None:
    found = load_trained(write_checkpoint(tmp_path, untrained(), **({"loss": loss} if loss else {})))
    assert (found.activation, found.unlisted) == (activation, unlisted)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_layers_compute_in_the_numbers_of_the_run(precision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    found = load_trained(write_checkpoint(tmp_path, untrained(), engine={"precision": precision}))
    with found.autocast(torch.device("cpu")):
        assert found.model(PICTURES).dtype == dtype


@pytest.mark.parametrize(
    ("name", "features"),
    [("tiny_cnn", 64), ("resnet18", 512), ("squeezenet1_1", 512), ("regnet_y_400mf", 440)],
)
def test_the_width_of_the_features_is_what_the_head_takes(name: str, features: int, tmp_path: Path) -> None:
    found = load_trained(write_checkpoint(tmp_path, untrained(name, 3), name=name))
    assert (found.num_features, found.num_classes) == (features, 3)


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    for path in (tmp_path / "x.safetensors", tmp_path / "missing"):
        with pytest.raises(InputError, match=r"checkpoint: .*is not a whole checkpoint.* train\.py wrote") as caught:
            load_trained(path)
        assert "\n" not in str(caught.value)


def test_a_run_of_another_version_or_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not know .*model.name must be one of"):
        load_trained(write_checkpoint(tmp_path / "name", untrained(), name="resnet7"))
    with pytest.raises(InputError, match=r"does not know .*data.evaluation is 'odd'"):
        load_trained(write_checkpoint(tmp_path / "crop", untrained(), data={"evaluation": "odd"}))
    with pytest.raises(InputError, match="is of another network"):
        load_trained(write_checkpoint(tmp_path / "other", untrained(), name="resnet18"))
    with pytest.raises(InputError, match=r"has no weights of 'classifier.1', the head of a squeezenet1_1"):
        load_trained(write_checkpoint(tmp_path / "head", untrained(), name="squeezenet1_1"))
