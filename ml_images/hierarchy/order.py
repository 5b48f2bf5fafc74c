"""Order and depth of a hierarchy given as parent lists: trees and DAGs, any number of roots, rows in any order.

`parents[c]` holds the classes directly above class c, empty for a root. Nothing here assumes that a parent's row comes
before its child's: the published vocabulary has one class (9741 `water`) whose parent (10348 `fluid`) comes later.
"""

from collections.abc import Sequence

Parents = Sequence[Sequence[int]]
_SHOWN = 12  # classes of a cycle that a message shows


def parents_first(parents: Parents) -> list[int]:
    """All classes, each after all of its parents (Kahn 1962). Classes on a cycle, or below one, are left out."""
    children: list[list[int]] = [[] for _ in parents]
    waiting = [len(above) for above in parents]
    for child, above in enumerate(parents):
        for parent in above:
            children[parent].append(child)
    order = [c for c, count in enumerate(waiting) if count == 0]
    for parent in order:  # grows while it is read
        for child in children[parent]:
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    return order


def find_cycle(parents: Parents) -> list[int]:
    """The classes of one cycle, each followed by one of its parents, the smallest first; empty if there is none."""
    stuck = set(range(len(parents))).difference(parents_first(parents))
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


def depths(parents: Parents) -> list[int]:
    """Edges of the longest way up to a root, for each class; 0 for a root. The hierarchy must be free of cycles."""
    order = parents_first(parents)
    assert len(order) == len(parents), "the hierarchy has a cycle"
    depth = [0] * len(parents)
    for c in order:
        for parent in parents[c]:
            if depth[parent] >= depth[c]:
                depth[c] = depth[parent] + 1
    return depth
