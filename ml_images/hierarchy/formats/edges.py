"""A vocabulary from the single relations that a file gives; decides which of them make no hierarchy.

A class below itself, directly or by a cycle, is the user's mistake. A relation given twice counts once. Several roots
and several parents are fine.
"""

from collections.abc import Mapping, Sequence

from ml_images.errors import InputError
from ml_images.hierarchy.order import find_cycle, spell_cycle
from ml_images.hierarchy.vocabulary import Vocabulary

Edge = tuple[int, int]  # (child, parent)


def assemble(ids: Sequence[str], names: Sequence[tuple[str, ...]], edges: Mapping[Edge, str]) -> Vocabulary:
    """The vocabulary of `ids` in their order; the parents of a class keep the order of `edges`.

    edges: (child, parent) as indices into `ids` -> the place in the file that messages name (`source:line`).
    Raises InputError for a class that is its own parent and for a cycle.
    """
    parents: list[list[int]] = [[] for _ in ids]
    for (child, parent), place in edges.items():
        if child == parent:
            raise InputError(f"{place}: {ids[child][:40]!r} is its own parent")
        parents[child].append(parent)
    if cycle := find_cycle(parents):
        raise InputError(f"{edges[cycle[0], cycle[1]]}: {spell_cycle(ids, cycle)}")
    return Vocabulary(tuple(ids), tuple(names), tuple(map(tuple, parents)))
