"""What the training benchmark makes of its steps."""

from collections.abc import Sequence
from typing import Any

import pytest
from training_report import (
    ALONE,
    DDP,
    FP32,
    HOROVOD,
    PEER,
    SMOOTHED,
    apart,
    goals_of,
    quartiles,
    step_s,
    to_markdown,
    waiting,
)


def steps(took: Sequence[float], losses: Sequence[float] = (), waited_s: float = 0.0) -> list[dict[str, Any]]:
    """The first one is warm."""
    losses = losses or [1.0] * len(took)
    return [
        {"step_s": each, "loss": loss, "waited_s": waited_s, "warm": number == 0}
        for number, (each, loss) in enumerate(zip(took, losses, strict=True))
    ]


def pairs(*ratios: float) -> list[dict[str, Any]]:
    return [{"ours_s": 2.0 * ratio, "bare_s": 2.0, "waited_s": 0.0, "warm": False} for ratio in ratios]


def test_a_step_is_the_median_of_those_behind_the_warm_ones() -> None:
    assert step_s(steps([100, 2, 1, 9])) == 2


def test_waiting_is_a_share_of_the_time() -> None:
    assert waiting(steps([100, 1, 3], waited_s=0.1)) == pytest.approx(0.05)


def test_losses_are_compared_as_means_of_some_steps() -> None:
    ones = [1.0] * SMOOTHED
    assert apart(steps(ones, ones), steps(ones, ones)) == 0
    off = [*ones[1:], 1.0 + 0.1 * SMOOTHED]
    assert apart(steps(ones, off), steps(ones, ones)) == pytest.approx(0.1)
    longer = [*ones, 3.0]
    assert apart(steps(longer, longer), steps(longer, [*ones, 1.0])) == pytest.approx(2 / SMOOTHED)


def test_overhead_is_that_of_a_step_beside_the_bare_one_next_to_it() -> None:
    assert quartiles(pairs(1.0, 1.01, 1.02, 1.03, 9.0)) == pytest.approx((0.01, 0.02, 0.03))


@pytest.mark.parametrize(("slower", "met"), [(1.0, True), (1.2, False)], ids=["as fast as wanted", "slower"])
def test_goals_are_met_or_not(slower: float, met: bool) -> None:
    losses = [2.0] * 8
    took = [1.0] * 8
    parts = {
        "alone": {
            PEER: steps([each * 1.9 for each in took], losses),
            ALONE: steps([each * slower for each in took], [each * slower for each in losses], 0.2 * (slower - 1)),
            FP32: steps(took, losses),
        },
        "ranks": {HOROVOD: steps([each * slower for each in took]), DDP: steps(took)},
        "overhead": {"pairs": pairs(*[1 + 0.5 * (slower - 1)] * 5)},
    }
    assert [goal.met for goal in goals_of(parts)] == [met] * 5
    sizes = {name: {"batch": 4} for name in parts}
    text = to_markdown(parts, sizes, {"processor": "a"}, "2026-01-02")
    assert text.count("| yes |" if met else "| NO |") == 5
    assert "![loss](training-2026-01-02.png)" in text


def test_parts_that_were_not_measured_are_left_out() -> None:
    text = to_markdown({"overhead": {"pairs": pairs(1.0, 1.0, 1.0)}}, {"overhead": {"batch": 4}}, {}, "2026-01-02")
    assert "## Overhead" in text
    assert "## One process" not in text
    assert text.count("| yes |") == 1
