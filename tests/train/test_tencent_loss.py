import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_threads import ThreadComm, on_ranks
from torch import Tensor

from ml_images.train.comm import Comm, LocalComm
from ml_images.train.targets import from_dense
from ml_images.train.tencent_loss import ClassSelection, MlImagesConfig, MlImagesLoss, Variant

UNKNOWN = -1.0
ALWAYS, NEVER = (lambda step: torch.ones(1, dtype=torch.bool)), (lambda step: torch.zeros(1, dtype=torch.bool))


class Scripted:
    """Classes are selected as a list has it, step by step."""

    def __init__(self, steps: list[list[bool]]) -> None:
        self._steps = steps

    def __call__(self, step: int) -> Tensor:
        return torch.tensor(self._steps[step], dtype=torch.bool)


def run(loss: MlImagesLoss, logits: Tensor, told: Tensor) -> tuple[float, Tensor]:
    """The loss of a step and its gradient."""
    logits = logits.clone().requires_grad_()
    value = loss(logits, from_dense(told, torch.ones(len(told), dtype=torch.bool)))
    value.backward()
    assert logits.grad is not None
    return float(value.detach()), logits.grad


def weight_of_steps(variant: Variant, confidences: list[float], selected: list[bool]) -> list[float]:
    """The weight of one class that has one image of the given confidence in each step: loss over plain loss."""
    loss = MlImagesLoss(
        MlImagesConfig(variant, positive_weight=1.0), 1, LocalComm(), Scripted([[one] for one in selected])
    )
    logits = torch.zeros(1, 1)
    return [run(loss, logits, torch.tensor([[y]]))[0] / math.log(2) for y in confidences]


class Slow:
    """The definition, class by class and cell by cell, in Python's own numbers."""

    def __init__(self, config: MlImagesConfig, classes: int) -> None:
        self.config = config
        self.p, self.n = [0] * classes, [0] * classes

    def step(self, logits: list[list[float]], told: list[list[float]], selected: list[bool]) -> float:
        released, q = self.config.variant == "released_code", self.config.positive_weight
        total = 0.0
        for c in range(len(self.p)):
            if any(row[c] >= 0.7 for row in told):
                self.p[c], self.n[c] = self.p[c] + 1, 0
                weight = max(0.01, math.log10(10 / (0.01 + self.p[c])))
            else:
                self.p[c] = 0
                self.n[c] += selected[c] if released else 1
                g = math.log10(10 / (8 + self.n[c]))
                weight = selected[c] * (g if g > 0.01 else 0.001 if released else 0.01)
            for x, y in ((row[c], wanted[c]) for row, wanted in zip(logits, told, strict=True)):
                if y != UNKNOWN:
                    y = y if released else float(y >= 0.7)
                    total += weight * (q * y * math.log1p(math.exp(-x)) + (1 - y) * math.log1p(math.exp(x)))
        return total / len(logits)


def test_a_class_that_is_always_there_comes_down_to_a_hundredth() -> None:
    for variant in ("released_code", "paper"):
        found = weight_of_steps(variant, [1.0] * 12, [False] * 12)
        published = [0.9957, 0.6968, 0.5214, 0.3969, 0.3002, 0.2211, 0.1543, 0.0964, 0.0453, 0.01, 0.01, 0.01]
        assert found == pytest.approx(published, abs=6e-5)


def test_a_class_that_is_never_there_is_trained_when_it_is_selected_only() -> None:
    selected = [False, True, False, True, True]
    released = weight_of_steps("released_code", [0.0] * 5, selected)
    assert released == pytest.approx([0, 1 - math.log10(9), 0, 0.001, 0.001], rel=1e-5)
    assert released[1] == pytest.approx(0.04576, abs=1e-5)
    # The paper counts the first step, too, so the run is 2 already when it is selected, and 0.01 is the least.
    assert weight_of_steps("paper", [0.0] * 5, selected) == pytest.approx([0, 0.01, 0, 0.01, 0.01], rel=1e-5)


def test_a_change_starts_a_run_anew() -> None:
    found = weight_of_steps("released_code", [1.0, 1.0, 0.0, 1.0, 0.0], [True] * 5)
    first, negative = 1 - math.log10(1.01), 1 - math.log10(9)
    assert found == pytest.approx([first, 1 - math.log10(2.01), negative, first, negative], rel=1e-5)


@pytest.mark.parametrize(("confidence", "is_present"), [(0.7, True), (0.69, False), (0.6, False), (UNKNOWN, False)])
def test_a_class_is_present_from_a_confidence_of_seven_tenths(confidence: float, is_present: bool) -> None:
    loss = MlImagesLoss(MlImagesConfig(), 1, LocalComm(), NEVER)
    value, _ = run(loss, torch.zeros(1, 1), torch.tensor([[confidence]]))
    assert (value > 0) == is_present
    assert int(loss.positive_run) == is_present


def test_confidences_are_soft_targets_in_the_code_and_hard_ones_in_the_paper() -> None:
    x, y, weight = 0.3, 0.8, 1 - math.log10(1.01)
    positive, negative = math.log1p(math.exp(-x)), math.log1p(math.exp(x))
    for variant, expected in (("released_code", 12 * y * positive + (1 - y) * negative), ("paper", 12 * positive)):
        loss = MlImagesLoss(MlImagesConfig(variant), 1, LocalComm(), NEVER)
        value, _ = run(loss, torch.tensor([[x]]), torch.tensor([[y]]))
        assert value == pytest.approx(weight * expected, rel=1e-5)


def test_a_class_that_nobody_knows_counts_as_one_without_a_positive_and_costs_nothing() -> None:
    loss = MlImagesLoss(MlImagesConfig(), 1, LocalComm(), ALWAYS)
    value, gradient = run(loss, torch.full((2, 1), 3.0), torch.full((2, 1), UNKNOWN))
    assert value == 0 == gradient.abs().max()
    assert int(loss.negative_run) == 1


STEP = st.tuples(
    st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(st.lists(st.sampled_from([0.0, 0.6, 0.8, 1.0, UNKNOWN]), min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=3, max_size=3),
)


@given(st.sampled_from(["released_code", "paper"]), st.lists(STEP, min_size=1, max_size=6))
def test_equals_the_definition_cell_by_cell(
    variant: Variant, steps: list[tuple[list[list[float]], list[list[float]], list[bool]]]
) -> None:
    config = MlImagesConfig(variant)
    loss = MlImagesLoss(config, 3, LocalComm(), Scripted([selected for _, _, selected in steps]))
    slow = Slow(config, 3)
    for logits, told, selected in steps:
        value, _ = run(loss, torch.tensor(logits), torch.tensor(told))
        assert value == pytest.approx(slow.step(logits, told, selected), rel=1e-4, abs=1e-5)
        assert (loss.positive_run.tolist(), loss.negative_run.tolist()) == (slow.p, slow.n)


@pytest.mark.real_data
def test_recorded_steps_of_the_released_code(shared_data: Path) -> None:
    golden = json.loads((shared_data / "golden" / "ml_images_loss.json").read_text())
    config = MlImagesConfig(present_from=golden["mask_thres"], positive_weight=golden["q"])
    loss = MlImagesLoss(config, 7, LocalComm(), Scripted([[bool(s) for s in step] for step in golden["neg_selected"]]))
    for step, cost in enumerate(golden["cost"]):
        value, gradient = run(loss, torch.tensor(golden["logits"][step]), torch.tensor(golden["labels"][step]))
        assert value == pytest.approx(cost, abs=1e-5)
        assert torch.allclose(gradient, torch.tensor(golden["dcost_dlogits"][step]), atol=1e-5, rtol=0)
        assert loss.positive_run.tolist() == golden["pos_count"][step]
        assert loss.negative_run.tolist() == golden["neg_count"][step]


def whole_and_split(counters: str, size: int) -> tuple[list[float], list[float], Tensor, Tensor]:
    """Losses of 5 steps on one rank and their means over `size`, and the last gradients of both."""
    config = MlImagesConfig(counters=counters, selected_share=0.5)
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(5, 8, 20, generator=generator)
    told = (torch.rand(5, 8, 20, generator=generator) < 0.08).float()

    def steps(comm: Comm) -> list[tuple[float, Tensor]]:
        loss = MlImagesLoss(config, 20, comm, ClassSelection(0, 0.5, 20))
        share = slice(comm.rank * 8 // comm.size, (comm.rank + 1) * 8 // comm.size)
        return [run(loss, x[share], y[share]) for x, y in zip(logits, told, strict=True)]

    whole, ranks = steps(LocalComm()), on_ranks(size, steps)
    means = [sum(rank[step][0] for rank in ranks) / size for step in range(5)]
    split = torch.cat([rank[-1][1] for rank in ranks]) / size  # each rank's mean is over its own images
    return [value for value, _ in whole], means, whole[-1][1], split


@pytest.mark.parametrize("size", [2, 4])
def test_with_global_counters_ranks_do_what_one_process_does(size: int) -> None:
    whole, split, gradient, gradients = whole_and_split("global", size)
    assert split == pytest.approx(whole, rel=1e-5)
    assert torch.allclose(gradients, gradient, rtol=1e-5, atol=1e-7)


def test_with_counters_of_their_own_they_do_something_else() -> None:
    whole, split, _, _ = whole_and_split("rank", 4)
    assert abs(split[-1] - whole[-1]) > 0.01 * whole[-1]


def counted(comm: Comm, steps: range, start: dict[str, Tensor] | None = None) -> tuple[dict[str, Tensor], list[float]]:
    """The state after `steps` with counters of each rank's own, and the losses of this rank in them."""
    loss = MlImagesLoss(MlImagesConfig(counters="rank"), 20, comm, ClassSelection(0, 0.5, 20))
    if start:
        loss.load_state_dict(loss.fitted(start))
    values = []
    for step in steps:
        generator = torch.Generator().manual_seed(100 * step + comm.rank)
        told = (torch.rand(4, 20, generator=generator) < 0.1).float()
        values.append(run(loss, torch.randn(4, 20, generator=generator), told)[0])
    return loss.state_dict(), values


def test_every_rank_keeps_the_counters_of_all_so_that_a_checkpoint_of_one_is_whole() -> None:
    whole = on_ranks(3, lambda comm: counted(comm, range(8)))
    states = on_ranks(3, lambda comm: counted(comm, range(5))[0])
    for state in states[1:]:
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    assert len({tuple(row) for row in states[0]["positive_run"].tolist()}) == 3
    resumed = on_ranks(3, lambda comm: counted(comm, range(5, 8), states[0]))
    assert [values for _, values in resumed] == [values[5:] for _, values in whole]


def test_other_ranks_go_on_with_the_counters_of_those_that_there_were() -> None:
    state = on_ranks(2, lambda comm: counted(comm, range(4))[0])[0]
    was = state["negative_run"].tolist()
    (more, _), *_ = on_ranks(3, lambda comm: counted(comm, range(0), state))
    assert more["negative_run"].tolist() == [was[0], was[1], was[0]]
    (fewer, _) = counted(LocalComm(), range(0), state)
    assert fewer["negative_run"].tolist() == [was[0]]
    early = {name: tensor[0] if tensor.ndim else tensor for name, tensor in state.items()}
    (one_row, _), *_ = on_ranks(2, lambda comm: counted(comm, range(0), early))
    assert one_row["negative_run"].tolist() == [was[0], was[0]]
    assert int(one_row["steps"]) == 4


def test_a_run_goes_on_from_its_state() -> None:
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(4, 30), (torch.rand(4, 30, generator=generator) < 0.1).float()) for _ in range(6)]
    one, two = (MlImagesLoss(MlImagesConfig(), 30, LocalComm(), ClassSelection(3, 0.3, 30)) for _ in range(2))
    for x, y in batches[:5]:
        run(one, x, y)
    assert run(two, *batches[5])[0] != run(one, *batches[5])[0]
    two.load_state_dict(one.state_dict())
    assert run(two, *batches[0])[0] == run(one, *batches[0])[0]


def test_a_share_of_the_classes_is_selected_another_one_in_each_step_and_the_same_again() -> None:
    select = ClassSelection(7, 0.1, 11_166)
    steps = torch.stack([select(step) for step in range(50)])
    assert abs(float(steps.float().mean()) - 0.1) < 0.002
    assert abs(float((steps[1:] & steps[:-1]).float().mean()) - 0.01) < 0.001  # neighbours know nothing of each other
    assert float(steps.float().mean(0).max()) < 0.4
    assert torch.equal(ClassSelection(7, 0.1, 11_166)(3), steps[3])
    assert not torch.equal(ClassSelection(8, 0.1, 11_166)(3), steps[3])
    assert ClassSelection(0, 1.0, 100)(0).all()


def test_presence_is_told_apart_from_how_many_ranks_have_it() -> None:
    def step(comm: ThreadComm) -> list[int]:
        loss = MlImagesLoss(MlImagesConfig(), 3, comm, NEVER)
        run(loss, torch.zeros(1, 3), torch.tensor([[1.0, float(comm.rank == 1), 0.0]]))
        return loss.positive_run.tolist()

    assert on_ranks(3, step) == [[1, 1, 0]] * 3


@pytest.mark.parametrize("bad", [{"present_from": 0}, {"selected_share": 1.1}, {"positive_weight": math.inf}])
def test_impossible_numbers_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"loss.ml_images.{name} must be .*, got {bad[name]}"):
        MlImagesConfig(**bad)
