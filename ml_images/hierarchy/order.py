"""Order and depth of a hierarchy given as parent lists: trees and DAGs, any number of roots, rows in any order.

`parents[c]` holds the classes directly above class c, empty for a root. Nothing here assumes that a parent's row comes
before its child's: the published vocabulary has one class (9741 `water`) whose parent (10348 `fluid`) comes later.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Parents = Sequence[Sequence[int]]
_SHOWN = 12  # classes of a cycle that a message shows


def depths(parents: Parents) -> Int32:
    """Edges of the longest way up to a root, for each class: int32 (classes); 0 for a root, -1 for a class on a cycle
    or below one. Level by level (Kahn 1962): a class comes right after the last of its parents."""
    num_classes = len(parents)
    counts = np.fromiter(map(len, parents), np.int64, num_classes)
    children = np.repeat(np.arange(num_classes), counts)
    above = np.fromiter(chain.from_iterable(parents), np.int64, len(children))
    depth = np.where(counts > 0, -1, 0).astype(np.int32)
    for level in range(1, num_classes):
        waits = depth[above] < 0
        children, above = children[waits], above[waits]
        comes = depth < 0
        comes[children] = False
        if not comes.any():
            break
        depth[comes] = level
    return depth


def find_cycle(parents: Parents) -> list[int]:
    """The classes of one cycle, each followed by one of its parents, the smallest first; empty if there is none."""
    stuck = set(np.flatnonzero(depths(parents) < 0).tolist())
    if not stuck:
        return []
    # Each stuck class has a stuck parent, so climbing among them must come back to where it was.
    way: dict[int, None] = {}
    at = min(stuck)
    while at not in way:
        way[at] = None
        at = next(parent for parent in parents[at] if parent in stuck)
    cycle = list(way)[list(way).index(at) :]
    start = cycle.index(min(cycle))
    return cycle[start:] + cycle[:start]


def spell_cycle(ids: Sequence[str], cycle: Sequence[int]) -> str:
    """What a message says of a cycle that `find_cycle` found."""
    shown = [spell(ids[c]) for c in cycle[:_SHOWN]] + (["..."] if len(cycle) > _SHOWN else []) + [spell(ids[cycle[0]])]
    return f"cycle of parents: {' -> '.join(shown)}"


def spell(id: str) -> str:
    """An id as a message shows it: not too long, and on one line even where it holds a carriage return."""
    return repr(id[:40])[1:-1]
