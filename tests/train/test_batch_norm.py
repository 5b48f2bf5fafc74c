import copy

import torch
from torch import Tensor, nn

from ml_images.train.batch_norm import FrozenBatchNorm2d, freeze_batch_norms
from ml_images.train.networks import build_network


def small(seed: int = 0) -> nn.Module:
    """Two convolutions, each with a batch norm whose statistics are not those of any batch."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3)), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )
    for name, tensor in model.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    return model


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_frozen_statistics_are_what_training_uses_and_leaves() -> None:
    model = small()
    expected = copy.deepcopy(model).eval()
    freeze_batch_norms(model)
    model.train()
    before, images = buffers(model), torch.randn(2, 3, 9, 9) * 4
    given = model(images)
    assert torch.equal(given, expected(images))
    given.sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model[3].weight.grad is not None  # scale and shift are still learnt


def test_train_and_eval_do_not_wake_them() -> None:
    model = small()
    freeze_batch_norms(model)
    assert not any(m.training for m in model.train().modules() if isinstance(m, nn.BatchNorm2d))
    assert model.training
    assert not any(module.training for module in model.eval().modules())


def test_tensors_stay_the_same_objects_under_the_same_names() -> None:
    model = small()
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    freeze_batch_norms(model)
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


def test_only_the_parts_that_are_named_freeze() -> None:
    model = nn.ModuleDict({"stage1": small(), "stage10": small(), "bn": nn.BatchNorm2d(2)})
    freeze_batch_norms(model, ("stage1", "bn"))
    frozen = {name for name, module in model.named_modules() if isinstance(module, FrozenBatchNorm2d)}
    assert frozen == {"stage1.0.1", "stage1.3", "bn"}


def test_every_batch_norm_of_a_deep_network_is_found() -> None:
    with torch.device("meta"):
        model = build_network("ml_images_resnet101", 2)
    freeze_batch_norms(model)
    assert sum(isinstance(module, FrozenBatchNorm2d) for module in model.modules()) == 104
