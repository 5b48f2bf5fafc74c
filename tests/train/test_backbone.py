from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

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


def test_of_a_checkpoint_only_the_model_is_read(tmp_path: Path) -> None:
    path = tmp_path / "step.safetensors"
    weights = state(tiny(3, 1))
    other = {"momentum.fc.weight": torch.zeros(1), "mean.fc.weight": torch.zeros(2)}
    safetensors.torch.save_file({**{f"model.{name}": t for name, t in weights.items()}, **other}, path)
    assert read_weights(path).keys() == weights.keys()


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
