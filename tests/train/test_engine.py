import pytest
import torch
from torch import nn

from ml_images.train.engine import EngineConfig
from ml_images.train.model import ModelConfig, build_model


def test_layers_compute_in_what_was_asked_for_and_weights_stay() -> None:
    layer, images = nn.Conv2d(3, 4, 3), torch.ones(1, 3, 8, 8)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with EngineConfig(precision=precision).autocast(torch.device("cpu")):
            assert layer(images).dtype == kind
    assert layer.weight.dtype == torch.float32


def test_a_model_that_is_arranged_keeps_its_names_and_its_answers() -> None:
    torch.manual_seed(0)
    model, images = build_model(ModelConfig("tiny_cnn"), 4).eval(), torch.randn(2, 3, 32, 32)
    names, before = list(model.state_dict()), model(images)
    config = EngineConfig(channels_last=True)
    arranged = config.prepare(model)
    assert next(arranged.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert list(arranged.state_dict()) == names
    torch.testing.assert_close(arranged(images.contiguous(memory_format=config.memory_format)), before)


def test_a_model_is_compiled_in_place_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = nn.Linear(2, 2)
    assert EngineConfig().prepare(model) is model and not compiled
    assert EngineConfig(compile=True).prepare(model) is model and compiled == [model]
