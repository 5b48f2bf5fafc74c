"""scikit-learn's average precision of some of the classes of made-up scores.

    python metrics_sklearn.py OUTPUT IMAGES CLASSES TAKEN

Takes every so many-th class and holds their columns as scikit-learn reads them, one after the other. Writes
OUTPUT/classes.npz and ends with a line of JSON: the seconds of `average_precision_score` alone.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).parents[1]))
from score_sets import PIECE_ROWS, make_piece, pieces


def main(output: Path, images: int, classes: int, taken: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    chosen = np.unique(np.linspace(0, classes - 1, taken).astype(np.int64))
    scores = np.empty((images, len(chosen)), np.float32, order="F")
    targets = np.zeros((images, len(chosen)), np.int8, order="F")
    for number in range(pieces(images)):
        piece = make_piece(number, images, classes)
        place = slice(number * PIECE_ROWS, number * PIECE_ROWS + len(piece.scores))
        scores[place] = piece.scores[:, chosen]
        dense = np.zeros(piece.scores.shape, np.bool_)
        dense[np.repeat(np.arange(len(piece.scores)), np.diff(piece.offsets)), piece.classes] = True
        targets[place] = dense[:, chosen]
    warnings.filterwarnings("ignore", message="No positive class found")
    began, began_cpu = time.perf_counter(), time.process_time()
    found = average_precision_score(targets, scores, average=None)
    work_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    positives = targets.sum(axis=0, dtype=np.int64)
    np.savez(output / "classes.npz", chosen=chosen, average_precision=found, positives=positives)
    print(json.dumps({"work_s": work_s, "cpu_s": cpu_s, "taken": len(chosen)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
