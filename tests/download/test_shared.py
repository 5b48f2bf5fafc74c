import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ml_images.download.shared import components


@given(edges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=80))
def test_ids_that_hang_together_get_the_lowest_of_them(edges: list[tuple[int, int]]) -> None:
    a, b = np.array(edges, np.int64).T
    ids, lowest = components(a * 7 - 200, b * 7 - 200)
    _, group = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (61, 61)), directed=False)
    wanted = {id: min(np.flatnonzero(group == group[(id + 200) // 7])) * 7 - 200 for id in ids.tolist()}
    assert dict(zip(ids.tolist(), lowest.tolist(), strict=True)) == wanted
    assert set(ids.tolist()) == {end * 7 - 200 for edge in edges for end in edge}


def test_a_long_chain_is_one() -> None:
    ends = np.arange(100_001, dtype=np.int64)
    _, lowest = components(ends[1:], ends[:-1])
    assert not lowest.any()
