"""Where the positives of an image stand among its classes: precision and recall at k, coverage, top-1 and top-5.

Rank 1 is the highest score; of equal scores the lower class comes first. Unknown cells have no rank.

precision at k: positives among the k best, of k; recall at k: of the image's positives; both are means over the images
that have a positive. Coverage: how many classes score at least as much as the image's lowest positive, so how far down
one has to read to find all (scikit-learn's coverage_error). Top-k accuracy is taken over the images with exactly one
positive among `leaves`, and ranks these classes only: with closed labels the ancestors would always come first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_images.compiled import compiled
from ml_images.train.known_labels import KnownLabels

KS = (1, 3, 5, 10)
ACCURACY_KS = (1, 5)


class TopK:
    """Counters; those of ranks add up. leaves: bool (classes,), which of them top-k accuracy looks at, None: all."""

    def __init__(self, leaves: NDArray[np.bool_] | None = None) -> None:
        self._leaves = leaves
        self._images = 0
        self._hits = np.zeros(len(KS), np.int64)
        self._recall = np.zeros(len(KS))
        self._reached = 0
        self._single = 0
        self._right = np.zeros(len(ACCURACY_KS), np.int64)

    def update(self, scores: NDArray[np.float32], labels: KnownLabels) -> None:
        """Count some images: scores (images, classes), NaN where unknown."""
        ranks, reached = positive_ranks(scores, labels.offsets, labels.positives)
        counts = np.diff(labels.offsets)
        rows, there = labels.rows, counts > 0
        self._images += int(there.sum())
        self._reached += int(reached[there].sum())
        for number, k in enumerate(KS):
            found = np.bincount(rows[ranks <= k], minlength=len(counts))
            self._hits[number] += found.sum()
            self._recall[number] += (found[there] / counts[there]).sum()
        self._update_single(scores, labels, ranks)

    def _update_single(self, scores: NDArray[np.float32], labels: KnownLabels, ranks: NDArray[np.int64]) -> None:
        rows, classes = labels.rows, labels.positives
        if self._leaves is not None:
            of_leaf = self._leaves[classes]
            rows, classes = rows[of_leaf], classes[of_leaf]
        chosen = np.bincount(rows, minlength=labels.images) == 1
        if self._leaves is None:
            ranks = ranks[chosen[rows]]
        else:
            of_leaves = np.ascontiguousarray(scores[chosen][:, self._leaves])
            narrowed = (np.cumsum(self._leaves) - 1)[classes[chosen[rows]]]
            ranks, _ = positive_ranks(of_leaves, np.arange(len(narrowed) + 1), narrowed)
        self._single += len(ranks)
        for number, k in enumerate(ACCURACY_KS):
            self._right[number] += int((ranks <= k).sum())

    def totals(self) -> NDArray[np.float64]:
        """What ranks add up, exact below 2^53."""
        return np.concatenate(([self._images, self._reached, self._single], self._hits, self._recall, self._right))


def describe_top_k(totals: NDArray[np.float64]) -> dict[str, Any]:
    """The means, of the `totals` of all ranks; None where there is nothing to take the mean of."""
    images, reached, single = totals[:3].tolist()
    hits, recall, right = np.split(totals[3:], [len(KS), 2 * len(KS)])

    def mean(total: float, count: float) -> float | None:
        return float(total) / count if count else None

    return {
        "images_with_a_positive": int(images),
        "precision": {str(k): mean(found, images * k) for k, found in zip(KS, hits, strict=True)},
        "recall": {str(k): mean(found, images) for k, found in zip(KS, recall, strict=True)},
        "coverage": mean(reached, images),
        "single_label": {
            "images": int(single),
            **{f"top_{k}": mean(found, single) for k, found in zip(ACCURACY_KS, right, strict=True)},
        },
    }


@compiled
def positive_ranks(
    scores: NDArray[np.float32], offsets: NDArray[np.int64], positives: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rank of each positive among the known cells of its image, cells that score at least as much as the lowest
    positive of each image, 0 without one). The positives of image i are positives[offsets[i]:offsets[i + 1]]."""
    images, classes = scores.shape
    ranks = np.zeros(len(positives), np.int64)
    reached = np.zeros(images, np.int64)
    for image in range(images):
        for place in range(offsets[image], offsets[image + 1]):
            own = positives[place]
            score = scores[image, own]
            above, equal_before, equal = 0, 0, 0
            for other in range(classes):
                above += scores[image, other] > score
            for other in range(own):
                equal_before += scores[image, other] == score
            ranks[place] = 1 + above + equal_before
            if above + 1 > reached[image]:  # the lowest so far
                for other in range(classes):
                    equal += scores[image, other] == score
                reached[image] = above + equal
    return ranks, reached
