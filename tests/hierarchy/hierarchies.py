"""Random hierarchies and slow, obvious readings of them, for the tests of this folder."""

from itertools import pairwise

import pytest
from hypothesis import strategies as st

from ml_images.errors import InputError


@st.composite
def dags(draw, max_classes=10) -> list[list[int]]:
    """Parent lists of a DAG with up to three parents a class, in an order where a parent may come after its child."""
    names = draw(st.permutations(range(draw(st.integers(1, max_classes)))))
    parents: list[list[int]] = [[] for _ in names]
    for place, name in enumerate(names[1:], 1):
        parents[name] = draw(st.lists(st.sampled_from(names[:place]), max_size=3, unique=True))
    return parents


def slow_ancestors(parents: list[list[int]], c: int) -> set[int]:
    """The proper ancestors of class c, found by climbing from it."""
    found: set[int] = set()
    for parent in parents[c]:
        found |= {parent} | slow_ancestors(parents, parent)
    return found


def lists(indptr, indices) -> list[list[int]]:
    """Flat arrays as one list for each class."""
    return [indices[start:end].tolist() for start, end in pairwise(indptr)]


def named_relations(vocabulary) -> set[tuple[str, str]]:
    """(id of the child, id of the parent), whatever the order of classes."""
    return {(vocabulary.ids[c], vocabulary.ids[p]) for c, above in enumerate(vocabulary.parents) for p in above}


def mistake_in(parse, data: str | bytes, source: str = "h.txt") -> str:
    """The one line with which `parse` refuses the data."""
    with pytest.raises(InputError) as caught:
        parse(data if isinstance(data, bytes) else data.encode(), source)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message
