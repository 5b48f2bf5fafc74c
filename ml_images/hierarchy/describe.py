"""The numbers that describe a hierarchy. Every mean says over what: all classes, leaves, or classes below a root.

Lengths count edges. The published "longest 16, average 7.47" of ML-Images is the mean over all classes (7.47107);
over the leaves it would be 7.59.
"""

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ml_images.hierarchy.ancestors import Ancestors
from ml_images.hierarchy.descendants import find_children, find_descendants, find_heights

_WIDEST = 10

# "class" is a keyword, so not the class syntax.
Root = TypedDict("Root", {"class": int, "nodes": int, "leaves": int, "longest_path": int})
Wide = TypedDict("Wide", {"class": int, "children": int})


class HierarchyNumbers(TypedDict):
    """What describe_hierarchy found; plain numbers, ready for JSON. Histograms: how many at depth 0, 1, 2, ..."""

    nodes: int
    edges: int
    implied_edges: int  # to a parent that is an ancestor of another parent
    leaves: int
    internal: int
    roots: list[Root]
    longest_path: int
    mean_depth_of_all: float
    mean_depth_of_leaves: float
    mean_depth_below_roots: float | None  # None where every class is a root
    depths_of_all: list[int]
    depths_of_leaves: list[int]
    mean_children_of_internal: float | None  # None where no class has children
    nodes_with_one_child: int
    widest: list[Wide]  # the ten with most children, most first
    nodes_with_several_parents: int
    most_parents: int
    ancestor_pairs: int


def describe_hierarchy(ancestors: Ancestors) -> HierarchyNumbers:
    """The numbers of a hierarchy of at least one class."""
    num_children = np.diff(find_children(ancestors)[0])
    num_parents = np.diff(ancestors.parents_indptr)
    depths = ancestors.depths
    is_leaf, is_root = num_children == 0, num_parents == 0
    num_edges, num_internal = len(ancestors.parents_indices), int((~is_leaf).sum())
    widest = np.argsort(-num_children, kind="stable")[:_WIDEST]
    return {
        "nodes": ancestors.num_classes,
        "edges": num_edges,
        "implied_edges": _count_implied_edges(ancestors),
        "leaves": int(is_leaf.sum()),
        "internal": num_internal,
        "roots": _roots(ancestors, is_root, is_leaf),
        "longest_path": int(depths.max()),
        "mean_depth_of_all": float(depths.mean()),
        "mean_depth_of_leaves": float(depths[is_leaf].mean()),
        "mean_depth_below_roots": None if is_root.all() else float(depths[~is_root].mean()),
        "depths_of_all": np.bincount(depths).tolist(),
        "depths_of_leaves": np.bincount(depths[is_leaf]).tolist(),
        "mean_children_of_internal": num_edges / num_internal if num_internal else None,
        "nodes_with_one_child": int((num_children == 1).sum()),
        "widest": [{"class": c, "children": int(num_children[c])} for c in widest.tolist() if num_children[c]],
        "nodes_with_several_parents": int((num_parents > 1).sum()),
        "most_parents": int(num_parents.max()),
        "ancestor_pairs": len(ancestors.indices),
    }


def _roots(ancestors: Ancestors, is_root: npt.NDArray[np.bool_], is_leaf: npt.NDArray[np.bool_]) -> list[Root]:
    """The subtree of each root, itself included; in a DAG a class counts below each of its roots."""
    indptr, indices = find_descendants(ancestors)
    heights = find_heights(ancestors)
    return [
        {
            "class": c,
            "nodes": int(indptr[c + 1] - indptr[c]) + 1,
            "leaves": int(is_leaf[indices[indptr[c] : indptr[c + 1]]].sum()) + int(is_leaf[c]),
            "longest_path": int(heights[c]),
        }
        for c in np.flatnonzero(is_root).tolist()
    ]


def _count_implied_edges(ancestors: Ancestors) -> int:
    count = 0
    for c in np.flatnonzero(np.diff(ancestors.parents_indptr) > 1).tolist():
        parents = ancestors.parents_indices[ancestors.parents_indptr[c] : ancestors.parents_indptr[c + 1]]
        above = [ancestors.indices[ancestors.indptr[parent] : ancestors.indptr[parent + 1]] for parent in parents]
        count += int(np.isin(parents, np.concatenate(above)).sum())
    return count
