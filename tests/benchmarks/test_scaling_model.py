"""The model of a step on many GPUs: known answers, and bounds that hold for any network."""

import math

import pytest
import scaling_model
from hypothesis import given
from hypothesis import strategies as st
from scaling_model import Layer, Link, Network, step_s, sum_s, summed_s

FAST = Link(math.inf, 0.0)


def test_a_ring_of_two_sends_half_and_gets_half() -> None:
    assert sum_s(1000, 2, Link(100.0, 0.0)) == pytest.approx(10.0)  # 500 bytes there, 500 back
    assert sum_s(1000, 2, Link(math.inf, 0.25)) == pytest.approx(0.5)


def test_a_ring_of_many_sends_almost_twice_the_bytes_and_waits_for_every_hop() -> None:
    assert sum_s(1000, 100, Link(100.0, 0.0)) == pytest.approx(2 * 10.0 * 99 / 100)
    assert sum_s(0, 100, Link(100.0, 0.01)) == pytest.approx(2 * 99 * 0.01)


def test_a_tree_has_as_many_bytes_as_a_ring_and_few_hops() -> None:
    assert sum_s(1000, 64, Link(100.0, 0.0, tree=True)) == pytest.approx(sum_s(1000, 64, Link(100.0, 0.0)))
    assert sum_s(0, 64, Link(100.0, 0.01, tree=True)) == pytest.approx(2 * 6 * 0.01)
    assert sum_s(0, 33, Link(100.0, 0.01, tree=True)) == pytest.approx(2 * 6 * 0.01)


def test_layers_are_summed_one_after_the_other_as_backward_reaches_them() -> None:
    """By hand: backward takes 4 s, the last layer 3 of them. 2 ranks, 100 bytes/s."""
    network = Network("two", (Layer(1.0, 300), Layer(3.0, 200)))
    # Ready after 3 s, sent till 5 s; the other is ready after 4 s, begins after 5 s and takes 3 s.
    assert summed_s(network, 4.0, 2, Link(100.0, 0.0)) == pytest.approx(8.0)
    # Ten times as fast: 0.2 s in a pause, then 0.3 s behind backward.
    assert summed_s(network, 4.0, 2, Link(1000.0, 0.0)) == pytest.approx(4.3)


def test_what_waits_is_joined_up_to_the_buffer() -> None:
    network = Network("late", (Layer(0.0, 10), Layer(0.0, 10), Layer(0.0, 10), Layer(1.0, 10)))
    link = Link(math.inf, 1.0)  # a sum of two ranks takes two hops, whatever its bytes
    assert summed_s(network, 1.0, 2, link, buffer_bytes=40) == pytest.approx(1 + 2)
    assert summed_s(network, 1.0, 2, link, buffer_bytes=20) == pytest.approx(1 + 4)
    assert summed_s(network, 1.0, 2, link, buffer_bytes=15) == pytest.approx(1 + 8)
    assert summed_s(network, 1.0, 2, link, buffer_bytes=5) == pytest.approx(1 + 8)  # each is larger, each alone


def test_the_same_bytes_hide_at_the_end_of_a_network_and_not_at_its_beginning() -> None:
    large, small = Layer(0.0, 1000), Layer(1.0, 10)
    ends, begins = Network("ends", (small, small, large)), Network("begins", (large, small, small))
    link = Link(1500.0, 0.0)
    assert step_s(ends, 1.5, 2, link) < 1.5 + 0.1
    assert step_s(begins, 1.5, 2, link) > 1.5 + 0.6


def test_one_gpu_sends_nothing_and_is_not_slowed() -> None:
    network = Network("any", (Layer(1.0, 10**9),))
    assert step_s(network, 0.5, 1, Link(1.0, 1.0), contention=0.3) == 0.5
    assert step_s(network, 0.5, 8, FAST, contention=0.3) == pytest.approx(0.65)


LAYERS = st.builds(Layer, st.floats(0, 100), st.integers(1, 10**9))
LINKS = st.builds(Link, st.floats(1e6, 1e12), st.floats(0, 1e-3), st.booleans())


@given(st.lists(LAYERS, min_size=1, max_size=30), st.floats(0.01, 1), st.integers(2, 512), LINKS)
def test_summing_ends_behind_backward_and_no_later_than_layer_by_layer(
    layers: list[Layer], backward_s: float, ranks: int, link: Link
) -> None:
    layers.append(Layer(1.0, 1000))
    took = summed_s(Network("any", tuple(layers)), backward_s, ranks, link)
    alone = [sum_s(layer.num_bytes, ranks, link) for layer in layers]
    assert took >= (backward_s + alone[0]) * (1 - 1e-9)  # the first layer is ready last
    assert took >= sum_s(sum(layer.num_bytes for layer in layers), ranks, link) * (1 - 1e-9)
    assert took <= (backward_s + sum(alone)) * (1 + 1e-9)


def test_cores_for_reading() -> None:
    assert scaling_model.loader_cores(2000, 0.001) == pytest.approx(2.0)
