import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ml_images import config
from ml_images.errors import InputError
from ml_images.schemas import UNKNOWN
from ml_images.train.cell_losses import AsymmetricConfig, FocalConfig
from ml_images.train.comm import LocalComm
from ml_images.train.label_counts import LabelCounts
from ml_images.train.losses import LossConfig, evaluation_loss, make_loss, multilabel_bce
from ml_images.train.targets import from_dense
from ml_images.train.tencent_loss import MlImagesConfig

CELL = st.tuples(st.floats(-20, 20), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0, UNKNOWN]))
CLASSES = 6
EVERY = {
    "bce": LossConfig(),
    "ml_images": LossConfig("ml_images"),
    "focal": LossConfig("focal"),
    "asymmetric": LossConfig("asymmetric"),
    "two_way": LossConfig("two_way"),
    "distribution_balanced": LossConfig("distribution_balanced"),
    "softmax": LossConfig("softmax"),
    "selective": LossConfig("asymmetric", "selective"),
}


def make(name: str) -> nn.Module:
    counts = LabelCounts(torch.tensor([1000, 1, 2, 3, 4, 5]), 1000) if EVERY[name].needs_counts else None
    return make_loss(EVERY[name], CLASSES, LocalComm(), counts)


def slow_bce(logits: list[list[float]], targets: list[list[float]]) -> float:
    """The definition, cell by cell: sum over known classes, mean over images."""
    total = 0.0
    for row, wanted in zip(logits, targets, strict=True):
        for x, y in zip(row, wanted, strict=True):
            if y != UNKNOWN:
                total += y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x))
    return total / len(logits)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=4))
def test_equals_the_definition_cell_by_cell(cells: list[list[tuple[float, float]]]) -> None:
    logits = [[x for x, _ in row] for row in cells]
    targets = [[y for _, y in row] for row in cells]
    loss = multilabel_bce(torch.tensor(logits, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64))
    assert float(loss) == pytest.approx(slow_bce(logits, targets), rel=1e-6, abs=1e-9)


def test_a_known_value() -> None:
    logits = torch.zeros(2, 3)
    targets = torch.tensor([[1.0, 0.0, UNKNOWN], [0.7, UNKNOWN, UNKNOWN]])
    assert math.isclose(float(multilabel_bce(logits, targets)), 3 * math.log(2) / 2, rel_tol=1e-6)


def test_soft_targets_have_their_minimum_at_their_confidence() -> None:
    logits = torch.logit(torch.tensor([[0.7]])).requires_grad_()
    multilabel_bce(logits, torch.tensor([[0.7]])).backward()
    assert logits.grad is not None
    assert abs(float(logits.grad)) < 1e-6


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Logits, confidences and rows that count; the last one does not, and there is rubbish in what must not be seen."""
    logits = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0))
    told = torch.zeros(4, CLASSES)
    told[0, 1] = told[1, 2] = told[2, 3] = told[3, 4] = 1.0
    told[0, 0] = told[1, 5] = told[2, 0] = UNKNOWN
    rows = torch.tensor([True, True, True, False])
    logits[3] = torch.nan
    return logits, told, rows


def gradient(loss: nn.Module, logits: Tensor, told: Tensor, rows: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    value = loss(logits, from_dense(told, rows))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("name", EVERY)
def test_unknown_cells_and_rows_that_do_not_count_get_no_gradient_whatever_is_in_them(name: str) -> None:
    logits, told, rows = batch()
    # Class 0, which is unknown here, is too frequent for selective negatives; 5 is the likeliest unknown one of row 1.
    logits[:3][told[:3] == UNKNOWN] = torch.inf
    found = gradient(make(name), logits, told, rows)
    unseen = (told == UNKNOWN) | ~rows.unsqueeze(1)
    assert (found[unseen] == 0).all()
    assert found.isfinite().all()
    assert (found[0, 1], found[1, 2], found[2, 3]) < (0, 0, 0)  # positives are raised


@pytest.mark.parametrize("name", EVERY)
def test_what_is_in_unseen_places_changes_nothing(name: str) -> None:
    logits, told, rows = batch()
    other = logits.clone()
    other[3] = 5.0
    other[:3][told[:3] == UNKNOWN] = 7.0
    values = [float(make(name)(x, from_dense(told, rows))) for x in (logits, other)]
    assert values[0] == values[1] > 0


@pytest.mark.parametrize("name", EVERY)
def test_half_logits_are_taken_as_what_they_are(name: str) -> None:
    logits, told, rows = batch()
    logits = logits.bfloat16()
    found, expected = (float(make(name)(x, from_dense(told, rows))) for x in (logits, logits.float()))
    assert found == expected


@pytest.mark.parametrize(
    "other",
    [LossConfig("focal", focal=FocalConfig(0, None)), LossConfig("asymmetric", asymmetric=AsymmetricConfig(0, 0, 0))],
)
def test_without_focus_a_loss_is_cross_entropy_and_so_is_its_gradient(other: LossConfig) -> None:
    logits, told, rows = batch()
    found, expected = (gradient(make_loss(c, CLASSES, LocalComm()), logits, told, rows) for c in (other, LossConfig()))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_only_the_loss_with_counters_has_a_state() -> None:
    assert {name for name in EVERY if make(name).state_dict()} == {"ml_images"}
    assert set(make("ml_images").state_dict()) == {"positive_run", "negative_run", "steps"}


def test_the_seed_decides_what_is_drawn() -> None:
    logits, told = torch.zeros(1, 200), torch.zeros(1, 200)
    targets = from_dense(told, torch.ones(1, dtype=torch.bool))
    config = EVERY["ml_images"]
    first, again, other = (float(make_loss(config, 200, LocalComm(), seed=s)(logits, targets)) for s in (1, 1, 3))
    assert first == again != other
    all_selected = LossConfig("ml_images", ml_images=MlImagesConfig(selected_share=1.0))
    found = float(make_loss(all_selected, 200, LocalComm())(logits, targets))
    assert found == pytest.approx(200 * math.log10(10 / 9) * math.log(2), rel=1e-4)


def test_models_are_evaluated_by_the_cross_entropy_of_their_kind() -> None:
    assert evaluation_loss(EVERY["focal"]) is multilabel_bce
    softmax = evaluation_loss(LossConfig("softmax"))
    assert float(softmax(torch.zeros(2, 8), torch.eye(8)[:2])) == pytest.approx(math.log(8))


def test_options_come_from_files_and_words(tmp_path: Path) -> None:
    (tmp_path / "loss.yaml").write_text("name: focal\nfocal:\n  alpha: null\n  gamma: 1.5\n")
    found = config.load(LossConfig, [str(tmp_path / "loss.yaml"), "unlisted=ignore"], program="x")
    assert found == LossConfig("focal", "ignore", focal=FocalConfig(1.5, None))
    assert found.unlisted_is == "unknown"
    assert EVERY["selective"].unlisted_is == "unknown"
    assert LossConfig().unlisted_is == "absent"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["name=hinge"], r"option 'name': 'hinge' was given, accepted is bce\|ml_images\|focal"),
        (["unlisted=selective"], "loss.unlisted=selective is of loss.name=asymmetric only, got bce"),
        (["name=softmax", "unlisted=ignore"], "loss.name=softmax needs loss.unlisted=negative, got ignore"),
        (["focal.alpha=2"], r"loss.focal.alpha must be in \(0, 1\) or null, got 2"),
    ],
)
def test_wrong_options_end_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        config.load(LossConfig, words, program="x")
