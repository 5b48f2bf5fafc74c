from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_images.annotations.repeated import bucket_bounds, bucket_of, is_among, repeated

HASHES = st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 5, 2**63, 2**63 - 1, 2**64 - 1]), max_size=30)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(HASHES, st.integers(1, 7))
def test_buckets_cut_the_range_into_pieces_that_agree_with_each_hash(values, num_buckets):
    ascending = np.sort(array(values))
    bounds = bucket_bounds(ascending, num_buckets)
    assert len(bounds) == num_buckets + 1
    pieces = [ascending[bounds[b] : bounds[b + 1]] for b in range(num_buckets)]
    assert np.concatenate(pieces).tolist() == ascending.tolist()
    for bucket, piece in enumerate(pieces):
        assert (bucket_of(piece, num_buckets) == bucket).all()


def test_buckets_are_equal_shares_of_the_range():
    assert bucket_of(array([0, 2**62 - 1, 2**62, 2**63, 2**64 - 1]), 4).tolist() == [0, 0, 1, 2, 3]


@given(st.lists(HASHES, max_size=5))
def test_repeated_are_those_that_occur_twice_in_all_pieces_together(pieces):
    counts = Counter(value for piece in pieces for value in piece)
    assert repeated([array(piece) for piece in pieces]).tolist() == sorted(v for v, n in counts.items() if n > 1)


@given(HASHES, HASHES)
def test_membership(values, known):
    assert is_among(array(values), np.unique(array(known))).tolist() == [value in known for value in values]
