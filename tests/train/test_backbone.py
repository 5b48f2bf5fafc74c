from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from trained_builder import write_checkpoint

from ml_images.errors import InputError
from ml_images.train.backbone import load_backbone, read_weights, take_backbone
from ml_images.train.networks import build_network


def tiny(classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("tiny_cnn", classes)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_head_of_other_classes_is_drawn_anew_and_all_else_is_taken(tmp_path: Path) -> None:
    old, model = tiny(5, 1), tiny(3, 2)
    before = state(model)
    path = tmp_path / "old.safetensors"
    safetensors.torch.save_file(state(old), path)
    line = load_backbone(model, path)
    assert line == f"18 tensors taken from {path}; drawn anew: fc.bias, fc.weight (3 classes here, 5 there)"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] if name.startswith("fc.") else old.state_dict()[name]), name


def test_a_head_of_the_same_shape_comes_along(tmp_path: Path) -> None:
    old, model = tiny(3, 1), tiny(3, 2)
    assert take_backbone(model, state(old), "old") == "20 tensors taken from old, the head fc with them"
    assert all(torch.equal(tensor, old.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_backbone_without_a_head_is_enough() -> None:
    weights = {name: tensor for name, tensor in state(tiny(3, 1)).items() if not name.startswith("fc.")}
    assert take_backbone(tiny(3, 2), weights, "old").endswith("fc.bias, fc.weight (3 classes here, no head there)")


@pytest.mark.parametrize("has_mean", [False, True])
def test_of_a_checkpoint_the_mean_of_weights_is_read_where_there_is_one(tmp_path: Path, has_mean: bool) -> None:
    last, mean, model = tiny(5, 1), tiny(5, 2), tiny(3, 3)
    path = write_checkpoint(tmp_path, last, mean if has_mean else None)
    used, which = (mean, "the mean of its weights") if has_mean else (last, "the weights of its last step")
    weights, source = read_weights(path)
    assert source == f"{path} ({which})"
    assert weights.keys() == used.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in used.state_dict().items())
    assert load_backbone(model, path).startswith(f"18 tensors taken from {path} ({which}); drawn anew: fc.bias")
    assert torch.equal(model.state_dict()["features.0.weight"], used.state_dict()["features.0.weight"])


def test_a_damaged_checkpoint_is_no_start(tmp_path: Path) -> None:
    path, model = write_checkpoint(tmp_path, tiny(3, 1)), tiny(3, 2)
    before, content = state(model), bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^cannot read weights: .* is damaged: its digest does not fit its tensors$"):
        load_backbone(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_of_another_network_are_refused_by_name() -> None:
    weights = state(tiny(3, 1))
    weights["features.0.weight"] = torch.zeros(16, 3, 5, 5)
    with pytest.raises(
        InputError,
        match=r"^old is of another network: 0 missing, 0 left over, 1 of another shape "
        r"\(features.0.weight \(16, 3, 5, 5\) for \(16, 3, 3, 3\)\)$",
    ):
        take_backbone(tiny(3, 2), weights, "old")
    del weights["features.0.weight"]
    weights["features.9.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"1 missing \(features.0.weight\), 1 left over \(features.9.weight\), 0 of"):
        take_backbone(tiny(4, 2), weights, "old")


def test_a_file_with_weights_of_another_network_says_which_option_is_to_be_changed(tmp_path: Path) -> None:
    safetensors.torch.save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=r"18 missing .*; model\.name must be the network that it was trained with$"):
        load_backbone(tiny(4, 2), tmp_path / "resnet.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    weights = state(tiny(3, 1))
    weights["features.3.weight"][1, 2, 0, 0] = bad
    path = tmp_path / "old.safetensors"
    safetensors.torch.save_file(weights, path)
    with pytest.raises(
        InputError, match=r"old.safetensors has numbers .* not finite, in 1 tensors, first 'features.3.w"
    ):
        load_backbone(tiny(3, 2), path)


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = tiny(3, 2)
    before = state(model)
    with pytest.raises(InputError):
        take_backbone(model, {"fc.weight": torch.zeros(3, 64)}, "old")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    with pytest.raises(InputError, match=r"cannot read weights from .*old.safetensors: .*No such file"):
        read_weights(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"cannot read weights from .*old.safetensors: "):
        read_weights(path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=r"not the variables of ML-Images' ResNet-101"):
        read_weights(tmp_path / "other.npz")
