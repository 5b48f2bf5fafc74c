import numpy as np

from ml_images.train.chance import Chance, mixed, shuffled, stream


def test_numbers_are_those_of_splitmix64():
    chance = Chance()
    chance._state = 1234567  # the vector of the reference implementation
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [chance.below(1 << 64) for _ in range(3)] == wanted


def test_known_answers_so_that_a_run_goes_on_with_another_release():
    chance = Chance(1, 2, 3)
    assert [chance.below(1000) for _ in range(5)] == [71, 863, 357, 504, 601]
    assert shuffled(stream(5), 8).tolist() == [1, 4, 7, 3, 6, 2, 0, 5]


def test_streams_of_other_words_are_others():
    words = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 2, 3), (3, 2, 1), (2**63,)]
    assert len({stream(*word) for word in words}) == len(words)


def test_numbers_are_spread_evenly():
    chance = Chance(4)
    counts = np.bincount([chance.below(10) for _ in range(20_000)], minlength=10)
    assert abs(((counts - 2000) ** 2 / 2000).sum() - 9) < 5 * 18**0.5
    uniform = np.array([chance.uniform(-1, 3) for _ in range(20_000)])
    assert uniform.min() >= -1 and uniform.max() < 3
    assert abs(uniform.mean() - 1) < 0.05


def test_bits_of_neighbours_have_nothing_in_common():
    bits = np.unpackbits(mixed(np.arange(1, 1001, dtype=np.uint64)).view(np.uint8).reshape(-1, 8), axis=1)
    assert abs(bits.mean() - 0.5) < 0.01
    assert abs((bits[1:] ^ bits[:-1]).mean() - 0.5) < 0.01
