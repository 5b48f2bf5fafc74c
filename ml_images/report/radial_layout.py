"""Where each class of a hierarchy stands in a radial tree: leaves share the circle, a parent stands amid its children.

A tree is needed, so a class with several parents hangs on the first that the vocabulary names; its other edges are kept
apart. Several roots are fine: nothing is drawn in the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Room between leaves of different parents, in leaves: what d3-hierarchy calls separation 2 beside 1.
_GAP = 1


@dataclass(frozen=True, eq=False)
class RadialLayout:
    """Every array is (classes,); positions are shares of the circle in [0, 1], clockwise from the top.

    parents: int32, the tree's parent, -1 for a root. order: int32, the classes in preorder. position: of the class
    itself. start, end: of its subtree's leaves, half the room to their neighbours included. dropped: int32 (edges, 2),
    the (parent, child) edges of the hierarchy that the tree lacks.
    """

    parents: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]
    position: Floats
    start: Floats
    end: Floats
    dropped: npt.NDArray[np.int32]


def lay_out(parents: Sequence[Sequence[int]]) -> RadialLayout:
    """The layout of a hierarchy given as direct parents of each class (`Vocabulary.parents`), free of cycles."""
    first = [above[0] if above else -1 for above in parents]
    dropped = [(parent, child) for child, above in enumerate(parents) for parent in above[1:]]
    order = _preorder(first)
    children = np.bincount([parent for parent in first if parent >= 0], minlength=len(first))

    start, end, position = (np.zeros(len(first)) for _ in range(3))
    at, last_parent = 0.0, None
    for c in order:
        if children[c] == 0:
            if last_parent is not None and first[c] != last_parent:
                at += _GAP
            start[c], position[c], end[c] = at, at + 0.5, at + 1
            at, last_parent = at + 1, first[c]
    around = at + _GAP
    begun = [False] * len(first)
    lowest, highest = np.zeros(len(first)), np.zeros(len(first))  # positions of the first and of the last child
    for c in reversed(order):  # children before their parent, the last one first
        if children[c]:
            position[c] = (lowest[c] + highest[c]) / 2
        parent = first[c]
        if parent >= 0:
            if not begun[parent]:
                begun[parent], end[parent], highest[parent] = True, end[c], position[c]
            start[parent], lowest[parent] = start[c], position[c]
    return RadialLayout(
        np.array(first, np.int32),
        np.array(order, np.int32),
        position / around,
        start / around,
        end / around,
        np.array(dropped, np.int32).reshape(-1, 2),
    )


def _preorder(parents: Sequence[int]) -> list[int]:
    """Every class after its parent, and each subtree in one piece; brothers by class."""
    children: list[list[int]] = [[] for _ in parents]
    for child, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(child)
    order: list[int] = []
    waiting = [c for c, parent in enumerate(parents) if parent < 0][::-1]
    while waiting:
        c = waiting.pop()
        order.append(c)
        waiting.extend(reversed(children[c]))
    return order


def on_circle(position: Floats, radius: Floats) -> tuple[Floats, Floats]:
    """(x, y) around the origin, y downwards as on a screen: position 0 is at the top."""
    radians = np.pi * (position * 360 + 270) / 180
    return radius * np.cos(radians), radius * np.sin(radians)
