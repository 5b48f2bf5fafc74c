"""Train a network on a data set of jobs/materialize.py, in one process or in many.

    horovodrun -np 32 python train.py conf/train/pretrain.yaml data.path=DATASET output=RUN
    python train.py conf/smoke/train.yaml data.path=DATASET output=RUN

Rerun the same command after any interruption: it goes on from the last checkpoint.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence

from ml_images import config, entry
from ml_images.train.comm import RanksLost, open_comm
from ml_images.train.job import TrainJob
from ml_images.train.loop import Diverged
from ml_images.train.rank_0 import said_by_rank_0
from ml_images.train.session import Session


def main(argv: Sequence[str]) -> int:
    with said_by_rank_0(int(os.environ.get("HOROVOD_RANK", os.environ.get("RANK", "0")))):
        job = config.load(TrainJob, argv, program="train.py", doc=__doc__)
    try:
        comm = open_comm(os.environ)
        end = Session(job, config.to_dict(job), comm, stop_on_signals).run()
    except Diverged as error:
        if comm.rank == 0:
            print(f"train.py: {error}", file=sys.stderr)
        return entry.FAILED
    except RanksLost as error:
        print(f"train.py: {error}; the same command goes on from the last checkpoint", file=sys.stderr)
        return entry.FAILED
    if end.epoch < job.epochs:
        if comm.rank == 0:
            print(f"train.py: stopped after step {end.step}; the same command goes on from there", file=sys.stderr)
        return entry.INTERRUPTED
    comm.close()
    return entry.DONE


def stop_on_signals() -> threading.Event:
    """Set by the first SIGTERM or Ctrl-C: the run saves its step and ends. A second one ends the process at once."""
    event = threading.Event()

    def ask(number: int, _frame: object) -> None:
        event.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return event


if __name__ == "__main__":
    entry.run(main)
