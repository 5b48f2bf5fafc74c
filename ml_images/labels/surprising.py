"""Which pairs of classes are worth a look: together far more often than by chance, beyond doubt, and news.

Beyond doubt: pairs are ranked by the lift that is left when the count is taken two standard deviations lower (a count
of independent events has the standard deviation sqrt(count)), so that three lucky images do not lead the list. News:
neither class is an ancestor of the other, and no pair higher up says it already of the same classes, their ancestors or
their descendants: closed labels repeat each finding for all pairs of ancestors.
"""

import numpy as np
import pyarrow as pa

from ml_images.hierarchy.ancestors import Ancestors, find_ancestors
from ml_images.hierarchy.common import on_one_path
from ml_images.hierarchy.vocabulary import parents_of

NUM_PAIRS = 30
MIN_COUNT = 10  # images with both classes
DEVIATIONS = 2.0

# Candidates looked at, from the top: enough for any list that a person reads, and bounded.
_MAX_CANDIDATES = 200_000


def surprising_pairs(
    pairs: pa.Table, vocabulary: pa.Table, num_pairs: int = NUM_PAIRS, min_count: int = MIN_COUNT
) -> pa.Table:
    """At most `num_pairs` rows of `pairs` (association.PAIRS), the most surprising first, with names.

    Columns: name_a, name_b, count, a_given_b, b_given_a, lift, lift_at_least, pmi, class_a, class_b.
    """
    names = [names[0] for names in vocabulary["names"].to_pylist()]
    ancestors = find_ancestors(parents_of(vocabulary))
    counts = pairs["count"].to_numpy()
    at_least = pairs["lift"].to_numpy() * (1 - DEVIATIONS / np.sqrt(counts)).clip(min=0)
    a, b = pairs["class_a"].to_numpy(), pairs["class_b"].to_numpy()
    candidates = np.flatnonzero((counts >= min_count) & (at_least > 1))
    candidates = candidates[~on_one_path(ancestors, a[candidates], b[candidates])]
    order = candidates[np.argsort(-at_least[candidates], kind="stable")][:_MAX_CANDIDATES]
    kept = order[_news(a[order].tolist(), b[order].tolist(), ancestors, num_pairs)]
    chosen = pairs.take(kept)
    columns = {
        "name_a": [names[c] for c in chosen["class_a"].to_pylist()],
        "name_b": [names[c] for c in chosen["class_b"].to_pylist()],
        **{name: chosen[name] for name in ("count", "a_given_b", "b_given_a", "lift")},
        "lift_at_least": at_least[kept],
        **{name: chosen[name] for name in ("pmi", "class_a", "class_b")},
    }
    return pa.table(columns)


def _news(a: list[int], b: list[int], ancestors: Ancestors, num_pairs: int) -> list[int]:
    """The positions of the first `num_pairs` pairs that are news."""
    above: dict[int, frozenset[int]] = {}
    for c in {*a, *b}:
        above[c] = frozenset(ancestors.indices[ancestors.indptr[c] : ancestors.indptr[c + 1]].tolist())

    def related(c: int, d: int) -> bool:
        return c == d or c in above[d] or d in above[c]

    kept: list[int] = []
    for at, (c, d) in enumerate(zip(a, b, strict=True)):
        if len(kept) == num_pairs:
            break
        said = ((related(c, a[k]) and related(d, b[k])) or (related(c, b[k]) and related(d, a[k])) for k in kept)
        if not any(said):
            kept.append(at)
    return kept
