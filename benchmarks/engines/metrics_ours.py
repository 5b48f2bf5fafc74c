"""Our metrics of made-up scores on some processes that talk over loopback.

    python metrics_ours.py OUTPUT IMAGES CLASSES RANKS [RANK]

Starts the other ranks itself. Writes OUTPUT/classes.npz and OUTPUT/report.json, and ends with a line of JSON: seconds
of `update` and `result` of the slowest rank, without the time in which scores are made, and what its process has in
memory.
"""

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))
from score_sets import make_piece, pieces

from ml_images.train.comm import Comm, LocalComm
from ml_images.train.known_labels import know_labels
from ml_images.train.metrics import ClassFacts, Metrics
from ml_images.train.torch_comm import TorchComm


class FileComm(TorchComm):
    """Ranks that find each other by a file and listen on loopback alone."""

    def __init__(self, file: Path, rank: int, size: int) -> None:
        self.rank = self.local_rank = rank
        self.size = self.local_size = size
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)


def main(output: Path, images: int, classes: int, ranks: int, rank: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    others = [] if rank else [subprocess.Popen([sys.executable, *sys.argv, str(other)]) for other in range(1, ranks)]
    threads = max(1, len(os.sched_getaffinity(0)) // ranks)
    torch.set_num_threads(threads)
    comm: Comm = FileComm(output / "meeting", rank, ranks) if ranks > 1 else LocalComm()
    numbers = range(rank, pieces(images), ranks)
    _compile(classes, comm)
    before_mib, cpu_s, update_s = _peak_mib(), 0.0, 0.0
    depths, seen = np.arange(classes) % 16, np.arange(classes) * 10
    with closing(Metrics(classes, ClassFacts(seen, depths), scratch=output, threads=threads)) as metrics:
        for number in numbers:
            piece = make_piece(number, images, classes)
            began, began_cpu = time.perf_counter(), time.process_time()
            sure = np.ones(len(piece.classes), np.float32)
            everyone = np.ones(len(piece.scores), np.bool_)
            metrics.update(piece.scores, know_labels(piece.offsets, piece.classes, sure, everyone, "absent"))
            update_s += time.perf_counter() - began
            cpu_s += time.process_time() - began_cpu
        comm.sum(torch.zeros(1), "everybody is here")
        began, began_cpu = time.perf_counter(), time.process_time()
        found = metrics.result(comm)
        result_s = time.perf_counter() - began
        cpu_s += time.process_time() - began_cpu
    mine = torch.tensor([[update_s, result_s, cpu_s, before_mib, _peak_mib()]], dtype=torch.float64)
    told = comm.gather(mine, "times")
    comm.close()
    if rank:
        return
    if any(other.wait() for other in others):
        raise SystemExit("a rank failed")
    np.savez(output / "classes.npz", average_precision=found.average_precision, positives=found.positives)
    (output / "report.json").write_text(json.dumps(found.report, indent=1) + "\n")
    worst = told.max(dim=0).values.tolist()
    print(
        json.dumps(
            {
                "work_s": float((told[:, 0] + told[:, 1]).max()),
                "update_s": worst[0],
                "result_s": worst[1],
                "cpu_s": float(told[:, 2].sum()),
                "imports_mib": worst[3],
                "process_mib": worst[4],
            }
        )
    )


def _compile(classes: int, comm: Comm) -> None:
    """Load the compiled loops, as the first evaluation of a run does."""
    piece = make_piece(0, 70, classes)
    labels = know_labels(
        piece.offsets, piece.classes, np.ones(len(piece.classes), np.float32), np.ones(70, np.bool_), "absent"
    )
    with closing(Metrics(classes)) as metrics:
        metrics.update(piece.scores, labels)
        metrics.result(comm)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    folder, *numbers = sys.argv[1:]
    main(Path(folder), *map(int, numbers), *([0] if len(numbers) == 3 else []))
