from pathlib import Path

import numpy as np
from soak_memory import check_memory, draw, growth
from soak_watch import Kill, Sample

KIND = "Python worker"


def lives(mib_per_s: float, length_s: int = 200) -> list[Sample]:
    """Four processes, one after the other, each of a size of its own at its start and noisy."""
    noise = np.random.default_rng(1).normal(size=4 * length_s)
    return [
        Sample(
            float(second), KIND, second // length_s, 300 + 20 * (second // length_s) + mib_per_s * (second % length_s)
        )
        for second in range(4 * length_s)
    ] + [Sample(float(second), "decoder", 9, 200 + noise[second]) for second in range(4 * length_s)]


def test_the_slope_is_that_of_lives_not_of_what_comes_after_what() -> None:
    for slope in (0.0, 0.2):
        found = growth(lives(slope), KIND)
        assert found is not None and abs(found.mib_per_minute - 60 * slope) < 0.01


def test_growth_is_found_and_noise_is_none() -> None:
    assert [goal.met for goal in check_memory(lives(0.0), 1e9)] == [True, True, True]
    assert [goal.met for goal in check_memory(lives(0.2), 1e9)] == [False, True, True]


def test_lives_that_are_too_short_say_nothing() -> None:
    assert growth(lives(1.0, length_s=40), KIND) is None
    assert growth([], KIND) is None


def test_the_picture_shows_lines_and_kills(tmp_path: Path) -> None:
    draw(lives(0.1), [Kill(5.0, "driver"), Kill(9.0, "node")], tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
