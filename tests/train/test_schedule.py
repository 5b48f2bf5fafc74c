import math

import pytest

from ml_images.train.schedule import (
    ScheduleConfig,
    factor,
    linear_factor,
    lr_schedule,
    ml_images_factor,
    peak_lr,
    restarts_factor,
    steps_factor,
)

# 4 steps of warm-up, 8 of cosine.
EXPECTED = [0.25, 0.5, 0.75, 1.0, 1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806]


def test_the_factors_of_a_short_run() -> None:
    assert [factor(step, 4, 12) for step in range(12)] == pytest.approx(EXPECTED, abs=1e-6)


def test_a_line_leads_up_and_another_one_down_to_zero() -> None:
    found = [linear_factor(step, 2, 6) for step in range(6)]
    assert found == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    run = lr_schedule(ScheduleConfig(warmup_epochs=0.5, name="linear"), 0.4, 2, 4)
    assert [run(step) for step in (0, 1, 2, 7)] == pytest.approx([0.2, 0.4, 0.4, 0.4 / 6])


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert linear_factor(0, 0, 10) == 1.0
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


# What train.sh of the release sets, with 4,400 steps an epoch: (first step, last step) -> learning rate.
RELEASED = {
    (0, 4_399): 0.01,
    (4_400, 8_799): 0.01297,
    (8_800, 13_199): 0.01682209,
    (13_200, 17_599): 0.02181825,
    (17_600, 21_999): 0.02829827,
    (22_000, 26_399): 0.03670286,
    (26_400, 30_799): 0.04760361,
    (30_800, 35_199): 0.06174188,
    (35_200, 110_000): 0.08,
    (110_001, 220_000): 0.008,
    (220_001, 330_000): 0.0008,
    (330_001, 439_999): 0.00008,
}


def test_the_stairs_of_ml_images_begin_and_end_where_the_released_ones_do() -> None:
    config = ScheduleConfig(name="ml_images", warmup_epochs=8, decay_every_epochs=25)
    rate = lr_schedule(config, peak_lr(0.005, 4096), 100, 4400)
    for (first, last), expected in RELEASED.items():
        assert (rate(first), rate(last)) == pytest.approx((expected, expected), rel=1e-6)


def test_the_stairs_are_the_same_epochs_for_any_number_of_steps() -> None:
    config = ScheduleConfig(name="ml_images", warmup_epochs=8)
    few, many = lr_schedule(config, 1.0, 60, 10), lr_schedule(config, 1.0, 60, 4300)
    for epoch in range(60):  # in the middle: at the ends the step that still has the higher rate is of another length
        assert few(epoch * 10 + 5) == pytest.approx(many(epoch * 4300 + 2150))


def test_a_warm_up_of_another_length_has_as_many_stairs() -> None:
    assert [ml_images_factor(step, 16, 100) for step in (0, 1)] == [0.125, 0.125]
    assert len({ml_images_factor(step, 16, 100) for step in range(17)}) == 9
    assert ml_images_factor(0, 0, 100) == 1.0


def test_steps_are_a_tenth_from_the_boundary_on() -> None:
    # ML-Images' fine-tuning: 0.1, divided by 10 at steps 150,000, 300,000 and 450,000, without a warm-up.
    rate = lr_schedule(ScheduleConfig(name="steps", warmup_epochs=0, decay_every_epochs=30), 0.1, 120, 5000)
    found = [rate(step) for step in (0, 149_999, 150_000, 299_999, 300_000, 450_000)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.0001])
    assert [steps_factor(step, 4, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_restarts_are_cosines_that_get_longer() -> None:
    found = [restarts_factor(step, 2, 2, 2.0) for step in range(2 + 2 + 4 + 8)]
    assert found[:4] == pytest.approx([0.5, 1.0, 1.0, 0.5])
    assert found[4:8] == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert found[8:] == pytest.approx([0.5 * (1 + math.cos(math.pi * t / 8)) for t in range(8)])
    assert restarts_factor(10**7, 0, 10, 1.0) == 1.0


def test_restarts_come_in_the_same_epochs_for_any_number_of_steps() -> None:
    config = ScheduleConfig(name="restarts", warmup_epochs=1, cycle_epochs=10, cycle_growth=2)
    for steps_per_epoch in (3, 4300):
        rate = lr_schedule(config, 1.0, 71, steps_per_epoch)
        assert [e for e in range(1, 71) if rate(e * steps_per_epoch) == 1.0] == [1, 11, 31]


@pytest.mark.parametrize("name", ["cosine", "ml_images", "steps", "restarts"])
def test_no_way_down_has_a_rate_of_zero(name: str) -> None:
    rate = lr_schedule(ScheduleConfig(name=name, warmup_epochs=2), 0.1, 60, 7)
    assert all(0 < rate(step) <= 0.1 for step in range(60 * 7))


@pytest.mark.parametrize("bad", [{"decay_every_epochs": 0}, {"cycle_epochs": math.nan}, {"cycle_growth": 0.5}])
def test_impossible_lengths_are_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=f"schedule.{name} must be .* and finite, got {bad[name]}"):
        ScheduleConfig(**bad)
