"""The cost model says what arithmetic says where that is easy."""

import pytest
from simulate_download import HOSTS, simulate


@pytest.mark.parametrize("machines", [1, 3])
def test_limits_of_the_hosts_set_the_pace_whatever_the_machines(machines: int) -> None:
    run = simulate(20.0, 16, machines, 3200)
    assert 0.93 * 20 * HOSTS < run.images_per_s <= 20.5 * HOSTS
    assert run.busiest_second <= 21 and run.most_open <= 16


def test_without_limits_the_decoders_do() -> None:
    run = simulate(0.0, 0, 1, 3000)
    assert 0.85 * 800 / 0.8 < run.images_per_s < 1.05 * 800 / 0.8  # 20 ms on 16 cores; one in five is not decoded
