import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.labels.splits import SplitConfig, assign_splits, sort_hashes
from ml_images.schemas import SPLITS

KEYS = [f"https://host/{i}.jpg" for i in range(20_000)]

texts = st.text(st.characters(blacklist_categories=["Cs"]))
configs = st.builds(SplitConfig, st.integers(0, 2**64 - 1), st.floats(0, 0.49), st.floats(0, 0.49))


def splits(keys, config) -> list[str]:
    found = assign_splits(keys, config)
    assert found.type == pa.string()
    return found.to_pylist()


def test_known_answers_so_that_a_data_set_keeps_its_splits_from_release_to_release():
    keys = ["a", "b", "https://host/ü.jpg", ""]
    assert sort_hashes(7, keys).tolist() == [
        16905346971159383276,
        5614034821238970292,
        6539216520084379428,
        10941812139811181084,
    ]
    found = splits(KEYS[22:32], SplitConfig(seed=7, val=0.25, test=0.25))
    assert " ".join(found) == "train val train train test val train val val val"


@given(st.lists(texts, unique=True), configs, st.randoms())
def test_a_key_keeps_its_split_whatever_the_order_and_the_company(keys, config, random):
    together = dict(zip(keys, splits(keys, config), strict=True))
    assert set(together.values()) <= set(SPLITS)
    shuffled = random.sample(keys, len(keys))
    assert dict(zip(shuffled, splits(shuffled, config), strict=True)) == together
    for key in keys[:3]:
        assert splits([key], config) == [together[key]]


def test_lists_and_arrow_arrays_of_any_make_give_the_same():
    config = SplitConfig(seed=1, val=0.3, test=0.3)
    expected = splits(KEYS[10:40], config)
    assert splits(pa.array(KEYS).slice(10, 30), config) == expected
    assert splits(pa.chunked_array([KEYS[10:15], KEYS[15:40]]), config) == expected
    assert splits(pa.array([], pa.string()), config) == []


@pytest.mark.parametrize(("val", "test"), [(0.05, 0.0), (0.1, 0.2), (0.0, 0.5), (0.0, 0.0), (0.5, 0.4)])
def test_fractions_hold_within_five_standard_deviations(val, test):
    found = splits(KEYS, SplitConfig(seed=3, val=val, test=test))
    for name, fraction in (("val", val), ("test", test), ("train", 1 - val - test)):
        bound = 5 * np.sqrt(len(KEYS) * fraction * (1 - fraction))
        assert abs(found.count(name) - fraction * len(KEYS)) <= bound


def test_changing_one_fraction_moves_keys_between_that_split_and_train_only():
    before = splits(KEYS, SplitConfig(seed=5, val=0.1, test=0.1))
    after = splits(KEYS, SplitConfig(seed=5, val=0.2, test=0.1))
    assert {(old, new) for old, new in zip(before, after, strict=True) if old != new} == {("train", "val")}


def test_another_seed_draws_another_split():
    one, two = (np.array(splits(KEYS, SplitConfig(seed=seed, val=0.5))) for seed in (0, 1))
    assert 0.45 < (one == two).mean() < 0.55


def test_sort_hash_has_nothing_to_do_with_the_split():
    hashes = sort_hashes(5, KEYS)
    in_val = np.array(splits(KEYS, SplitConfig(seed=5, val=0.5))) == "val"
    assert abs(np.median(hashes[in_val]) / 2.0**64 - 0.5) < 0.02
    assert hashes.dtype == np.uint64
    assert [sort_hashes(5, [key])[0] for key in KEYS[:5]] == hashes[:5].tolist()  # a key's own, whatever is beside it


def test_sort_hashes_tell_keys_and_seeds_apart():
    assert len(set(sort_hashes(0, KEYS).tolist()) | set(sort_hashes(1, KEYS).tolist())) == 2 * len(KEYS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be in 0"),
        ({"seed": 2**64}, "seed must be in 0"),
        ({"val": -0.1}, "val must be at least 0 and below 1, got -0.1"),
        ({"test": 1.0}, "test must be at least 0 and below 1, got 1.0"),
        ({"val": float("nan")}, "val must be at least 0"),
        ({"val": 0.5, "test": 0.5}, "val \\+ test must be below 1"),
        ({"folds": 1}, "splits.folds must be 2 to 1000, or 0 for none, got 1"),
        ({"folds": 4, "fold": 4}, "splits.fold must be 0 to 3, got 4"),
        ({"fold": 1}, "splits.fold must be 0 to 0, got 1"),
        ({"folds": 4, "lists": ["val=a.txt"]}, "were both given: choose one"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SplitConfig(**options)
