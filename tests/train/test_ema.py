import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ml_images.train.ema import EmaConfig, WeightMean


def model_of(value: float) -> nn.Module:
    model = nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(value)
    model.running_mean.fill_(value)
    return model


def set_to(model: nn.Module, value: float) -> None:
    model.load_state_dict(model_of(value).state_dict() | {"num_batches_tracked": torch.tensor(int(value))})


def test_the_mean_follows_the_weights() -> None:
    model = model_of(0.0)
    mean = WeightMean(model)
    expected = 0.0
    for update, value in enumerate((1.0, 5.0, 2.0), start=1):
        set_to(model, value)
        mean.update(model, decay=0.25)
        decay = min(0.25, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    found = mean.state_dict()
    assert float(found["weight"]) == float(found["running_mean"]) == pytest.approx(expected)
    assert (int(found["num_batches_tracked"]), int(found["updates"])) == (2, 3)


def test_a_long_memory_forgets_the_first_weights_soon_all_the_same() -> None:
    model = model_of(100.0)
    mean = WeightMean(model)
    set_to(model, 1.0)
    for _ in range(50):
        mean.update(model, decay=0.9999)
    assert float(mean.state_dict()["weight"]) < 1.01


def test_within_the_model_holds_the_mean_and_afterwards_its_own_weights() -> None:
    model = model_of(0.0)
    mean = WeightMean(model)
    set_to(model, 8.0)
    mean.update(model, decay=0.0)
    set_to(model, 3.0)
    with mean.applied(model):
        assert model.weight.tolist() == model.running_mean.tolist() == [8.0]
        model.running_mean.fill_(99.0)
    assert model.weight.tolist() == model.running_mean.tolist() == [3.0]
    assert float(mean.state_dict()["running_mean"]) == 8.0


def test_it_goes_on_from_a_file(tmp_path: Path) -> None:
    model = model_of(1.0)
    one, two = WeightMean(model), WeightMean(model_of(7.0))
    for value in (2.0, 3.0):
        set_to(model, value)
        one.update(model, 0.9)
    save_file(one.state_dict(), tmp_path / "mean")
    two.load_state_dict(load_file(tmp_path / "mean"))
    set_to(model, 4.0)
    for mean in (one, two):
        mean.update(model, 0.9)
    assert {k: v.tolist() for k, v in one.state_dict().items()} == {k: v.tolist() for k, v in two.state_dict().items()}


def test_after_its_half_life_half_is_left_for_any_number_of_steps() -> None:
    config = EmaConfig(half_life_epochs=1.5)
    for steps in (4, 1000):
        assert config.decay(steps) ** (1.5 * steps) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [-1, math.inf, math.nan])
def test_impossible_half_lives_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=rf"ema.half_life_epochs must be >= 0 and finite, got {bad}"):
        EmaConfig(bad)
