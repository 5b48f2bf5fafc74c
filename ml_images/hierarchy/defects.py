"""Classes whose place in a hierarchy looks wrong, found in the vocabulary alone, with the classes that bear witness.

Cutting WordNet to one parent a class left general words without their kinds: `pet` and `livestock` of ML-Images are
leaves, `domestic animal` has only head, stray and feeder. The kinds of defect:

shallow_leaves  leaves right below a class under which leaves hang MIN_EDGES edges down on average: what stands beside
                whole subtrees is either very special or a group that lost its members (pet below animal)
named_after     a leaf whose name ends the names of other classes below its parent that are not below it (snake, but
                sea snake elsewhere)
claimed         a class named "M H" with H an ancestor's name, where other classes named "M ..." are below that ancestor
                but not below the class (domestic animal, but domestic cat elsewhere)
same_names      classes that share all of their names: a name is no key
only_child      a class with a single child: its images are, as a rule, those of the child

They are candidates for a person to judge; each kind comes with the most conspicuous first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_images.hierarchy.ancestors import Ancestors, find_ancestors
from ml_images.hierarchy.vocabulary import parents_of

KINDS = ("shallow_leaves", "named_after", "claimed", "same_names", "only_child")

# Leaves of ML-Images hang 7.9 edges below object, 7.2 below animal, 5.0 below placental, 3.3 below device. Below 4 most
# of what is found is right where it is (a key is a device).
MIN_EDGES = 4.0

# One namesake elsewhere is often chance (a velvet plant and velvet grass), two seldom are.
MIN_CLAIMED = 2

Names = Sequence[Sequence[str]]
Parents = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Defect:
    """Class `at` is conspicuous by `score` (edges for shallow_leaves, else classes) because of `others`, ascending."""

    kind: str
    at: int
    score: float
    others: tuple[int, ...]


def find_defects(names: Names, parents: Parents) -> list[Defect]:
    """All defects of a hierarchy given as names and direct parents of each class, by kind, then by falling score.

    For shallow_leaves `at` is the parent and `others` are its leaves; for same_names `at` is the first of the classes.
    """
    tree = _Tree(names, parents)
    found: list[Defect] = []
    for find in (_shallow_leaves, _named_after, _claimed, _same_names, _only_children):
        found.extend(sorted(find(tree), key=lambda defect: (-defect.score, defect.at)))
    return found


def defects_table(vocabulary: pa.Table) -> pa.Table:
    """The defects of `vocabulary` (schemas.VOCABULARY) with names, one row each, in the order of `find_defects`.

    Columns: kind, class, name, classes_below, score, others (their first names), finding (a sentence).
    """
    names = vocabulary["names"].to_pylist()
    parents = parents_of(vocabulary)
    below = np.bincount(find_ancestors(parents).indices, minlength=len(names)).tolist()
    defects = find_defects(names, parents)
    return pa.table(
        {
            "kind": [defect.kind for defect in defects],
            "class": pa.array([defect.at for defect in defects], pa.int32()),
            "name": [", ".join(names[defect.at]) for defect in defects],
            "classes_below": [below[defect.at] for defect in defects],
            "score": [defect.score for defect in defects],
            "others": [", ".join(names[c][0] for c in defect.others) for defect in defects],
            "finding": [finding(defect, names) for defect in defects],
        }
    )


def of_kind(defects: pa.Table, kind: str) -> pa.Table:
    """The rows of `defects_table` of one of KINDS, without the column that says so. ValueError for another word."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return defects.filter(pc.equal(defects["kind"], kind)).drop_columns(["kind"])


def shallow_leaves(vocabulary: pa.Table) -> list[int]:
    """The leaves of all defects of kind shallow_leaves, ascending."""
    defects = find_defects(vocabulary["names"].to_pylist(), parents_of(vocabulary))
    return sorted({c for defect in defects if defect.kind == "shallow_leaves" for c in defect.others})


def finding(defect: Defect, names: Names) -> str:
    """A defect as a sentence."""
    name, n = names[defect.at][0], len(defect.others)
    match defect.kind:
        case "shallow_leaves":
            return f"leaves hang {defect.score:.1f} edges below {name} on average, {n} of them right below it"
        case "named_after":
            return f"{name} is a leaf, and {n} classes named after it are below its parent but not below it"
        case "claimed":
            return f"{n} classes that share the first word of {name} are not below it"
        case "same_names":
            return f"classes {', '.join(map(str, (defect.at, *defect.others)))} have the same names"
        case _:
            return f"the only child of {name} is {names[defect.others[0]][0]}"


class _Tree:
    def __init__(self, names: Names, parents: Parents):
        self.names = [[name.lower() for name in one] for one in names]
        self.parents = parents
        self.children: list[list[int]] = [[] for _ in parents]
        for child, above in enumerate(parents):
            for parent in above:
                self.children[parent].append(child)
        ancestors = find_ancestors(parents)
        self.above = [_above(ancestors, c) for c in range(len(parents))]

    def is_leaf(self, c: int) -> bool:
        return not self.children[c]


def _above(ancestors: Ancestors, c: int) -> frozenset[int]:
    return frozenset(ancestors.indices[ancestors.indptr[c] : ancestors.indptr[c + 1]].tolist())


def _shallow_leaves(tree: _Tree) -> Iterator[Defect]:
    edges = _edges_to_leaves(tree)
    for parent, children in enumerate(tree.children):
        leaves = tuple(c for c in children if tree.is_leaf(c))
        if leaves and edges[parent] >= MIN_EDGES:
            yield Defect("shallow_leaves", parent, edges[parent], leaves)


def _edges_to_leaves(tree: _Tree) -> list[float]:
    """For each class the mean number of edges down to the leaves below it, each way there counted; 0 for a leaf."""
    ways, edges = [0] * len(tree.children), [0] * len(tree.children)
    for c in sorted(range(len(tree.children)), key=lambda c: -len(tree.above[c])):  # children have more ancestors
        if tree.is_leaf(c):
            ways[c] = 1
        for child in tree.children[c]:
            ways[c] += ways[child]
            edges[c] += edges[child] + ways[child]
    return [total / count for total, count in zip(edges, ways, strict=True)]


def _index(names: Names, key: Callable[[list[str]], str]) -> dict[str, set[int]]:
    """The classes by `key` of each of their names that has several words."""
    index = defaultdict(set)
    for c, of_class in enumerate(names):
        for words in map(str.split, of_class):
            if len(words) > 1:
                index[key(words)].add(c)
    return index


def _named_after(tree: _Tree) -> Iterator[Defect]:
    by_last_word = _index(tree.names, lambda words: words[-1])
    for c, names in enumerate(tree.names):
        if tree.is_leaf(c):
            namesakes = set().union(*(by_last_word.get(name, ()) for name in names)) - {c}
            kinds = sorted(k for k in namesakes if not tree.above[k].isdisjoint(tree.parents[c]))
            if kinds:
                yield Defect("named_after", c, len(kinds), tuple(kinds))


def _claimed(tree: _Tree) -> Iterator[Defect]:
    by_modifier = _index(tree.names, lambda words: " ".join(words[:-1]))
    for c, names in enumerate(tree.names):
        claimed: set[int] = set()
        for words in filter(lambda words: len(words) > 1, map(str.split, names)):
            for a in tree.above[c]:
                if words[-1] in tree.names[a]:
                    alike = by_modifier[" ".join(words[:-1])]
                    claimed |= {k for k in alike if a in tree.above[k] and c not in tree.above[k]}
        claimed -= {c, *tree.above[c]}
        claimed = {k for k in claimed if set(names).isdisjoint(tree.names[k])}  # the same words twice: see same_names
        if len(claimed) >= MIN_CLAIMED:
            yield Defect("claimed", c, len(claimed), tuple(sorted(claimed)))


def _same_names(tree: _Tree) -> Iterator[Defect]:
    alike = defaultdict(list)
    for c, names in enumerate(tree.names):
        alike[tuple(names)].append(c)
    for first, *others in alike.values():
        if others:
            yield Defect("same_names", first, len(others), tuple(others))


def _only_children(tree: _Tree) -> Iterator[Defect]:
    sizes = np.bincount([a for above in tree.above for a in above], minlength=len(tree.above)).tolist()
    for c, children in enumerate(tree.children):
        if len(children) == 1:
            yield Defect("only_child", c, sizes[c], tuple(children))
