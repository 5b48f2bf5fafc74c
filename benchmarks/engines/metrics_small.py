"""Everything that our metrics and scikit-learn both compute, of a small evaluation with ties and unknown cells.

    python metrics_small.py OUTPUT

Ends with a line of JSON: the largest difference.
"""

import json
import sys
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, coverage_error, top_k_accuracy_score

sys.path.insert(0, str(Path(__file__).parents[1]))
from score_sets import make_piece, pieces

from ml_images.schemas import UNKNOWN
from ml_images.train.comm import LocalComm
from ml_images.train.known_labels import KnownLabels, know_labels
from ml_images.train.metrics import Metrics, Scored

IMAGES, CLASSES = 4_000, 300


def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    made = [make_piece(number, IMAGES, CLASSES) for number in range(pieces(IMAGES))]
    scores = np.concatenate([piece.scores for piece in made]).round(1)  # some 100 different ones
    targets = np.concatenate([_dense(piece.offsets, piece.classes) for piece in made])
    targets[np.random.default_rng(3).random(targets.shape) < 0.1] = UNKNOWN
    found = _ours(scores, targets)
    theirs = _sklearn(scores, targets, found)
    report = found.report
    ours = [
        *found.average_precision[found.scored],
        report["mean_average_precision"],
        report["weighted_average_precision"],
        report["micro_average_precision"],
    ]
    known = np.where(targets == UNKNOWN, 0, targets)  # for what scikit-learn cannot mask
    there = known.any(axis=1)
    all_known = _ours(scores, known).report
    ours.append(all_known["coverage"])
    theirs.append(coverage_error(known[there], scores[there]))
    single = known.sum(axis=1) == 1
    untied = scores[single] - np.arange(CLASSES) * 1e-9  # scikit-learn takes the last of equal scores, we the first
    for k in (1, 5):
        ours.append(all_known["single_label"][f"top_{k}"])
        right = known[single].argmax(axis=1)
        theirs.append(top_k_accuracy_score(right, untied, k=k, labels=np.arange(CLASSES)))
    difference = float(np.abs(np.array(ours) - np.array(theirs)).max())
    print(json.dumps({"difference": difference, "scored": int(found.scored.sum())}))


def _dense(offsets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    dense = np.zeros((len(offsets) - 1, CLASSES), np.float32)
    dense[np.repeat(np.arange(len(dense)), np.diff(offsets)), classes] = 1
    return dense


def _ours(scores: np.ndarray, targets: np.ndarray) -> Scored:
    with closing(Metrics(CLASSES)) as metrics:
        metrics.update(scores, _labels(targets))
        return metrics.result(LocalComm())


def _labels(targets: np.ndarray) -> KnownLabels:
    rows, classes = np.nonzero(targets)
    offsets = np.searchsorted(rows, np.arange(len(targets) + 1))
    return know_labels(offsets, classes, targets[rows, classes], np.ones(len(targets), np.bool_), "absent")


def _sklearn(scores: np.ndarray, targets: np.ndarray, found: Scored) -> list[float]:
    known = targets != UNKNOWN
    chosen = np.flatnonzero(found.scored)
    each = [average_precision_score(targets[known[:, c], c], scores[known[:, c], c]) for c in chosen]
    positives = [(targets[:, c] == 1).sum() for c in chosen]
    pooled = average_precision_score(targets[known], scores[known])
    return [*each, float(np.mean(each)), float(np.average(each, weights=positives)), pooled]


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]))
