import math

import pytest

from ml_images.train.schedule import ScheduleConfig, factor, lr_schedule, peak_lr

# 4 steps of warm-up, 8 of cosine.
EXPECTED = [0.25, 0.5, 0.75, 1.0, 1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806]


def test_the_factors_of_a_short_run() -> None:
    assert [factor(step, 4, 12) for step in range(12)] == pytest.approx(EXPECTED, abs=1e-6)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert factor(0, 0, 10) == 1.0


def test_no_step_has_a_rate_of_zero() -> None:
    assert all(factor(step, 5, 50) > 0 for step in range(50))


def test_the_peak_follows_the_global_batch() -> None:
    assert peak_lr(0.1, 256) == 0.1
    assert peak_lr(0.005, 4096) == pytest.approx(0.08)  # the peak of ML-Images
    assert peak_lr(0.1, 2 * 64) == 2 * peak_lr(0.1, 64)


def test_the_rate_at_a_share_of_the_run_is_the_same_for_any_number_of_steps_an_epoch() -> None:
    config = ScheduleConfig(warmup_epochs=2)
    few, many = lr_schedule(config, 1.0, 10, 5), lr_schedule(config, 1.0, 10, 500)
    assert few(30) == pytest.approx(many(3000))
    assert few(49) < few(10) == 1.0


@pytest.mark.parametrize("epochs", [-1, math.nan, math.inf])
def test_impossible_warm_up_is_refused(epochs: float) -> None:
    with pytest.raises(ValueError, match=rf"schedule.warmup_epochs must be >= 0 and finite, got {epochs}"):
        ScheduleConfig(warmup_epochs=epochs)


def test_part_of_an_epoch_of_warm_up_is_counted_in_steps() -> None:
    assert math.isclose(lr_schedule(ScheduleConfig(warmup_epochs=0.5), 2.0, 2, 4)(0), 1.0)
