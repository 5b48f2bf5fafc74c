"""What one rank saw, written down for a test: started by horovodrun with the data set and the folder for the answers.

Trains the tiny network with the library's own reader and loop, notes the keys of every batch and the checksum of the
final weights, and tries each collective of HorovodComm once with values that the test knows.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from ml_images.train.agreement import ranks_that_differ, weights_checksum
from ml_images.train.checkpoint import Position
from ml_images.train.comm import open_comm
from ml_images.train.data import DataConfig, TrainingReader
from ml_images.train.inputs import read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import SilentJournal, fit
from ml_images.train.model import ModelConfig
from ml_images.train.reader import Batch, Stages
from ml_images.train.schedule import ScheduleConfig
from ml_images.train.start import build
from ml_images.train.task import make_task

EPOCHS = 2


def main(data: str, answers: str) -> None:
    comm = open_comm(os.environ)
    rank = comm.rank
    seen: dict[str, object] = {
        "sum": comm.sum(torch.tensor([rank, 1]), "probe.sum").tolist(),
        "gather": comm.gather(torch.full((rank % 3, 2), rank), "probe.gather").tolist(),
        "json": comm.broadcast_json({"from": rank, "text": "é" * 9} if rank == 0 else None, "probe.json"),
    }
    job = TrainJob(
        output="unused",
        epochs=EPOCHS,
        data=DataConfig(path=data, batch_size=5, image_size=32, decode_threads=1),
        model=ModelConfig("tiny_cnn"),
        schedule=ScheduleConfig(warmup_epochs=0.5),
        seed=3,
    )
    inputs = read_inputs(job, comm)
    state, device = build(job, inputs, comm)
    model = state.model
    if rank:
        torch.nn.init.zeros_(model.fc.weight)  # share() has to mend this
    state.share(comm)
    keys: list[list[str]] = [[] for _ in range(EPOCHS)]

    task = make_task(job, inputs, state, device, comm, Stages())

    class Noted(TrainingReader):
        def batches(self) -> Iterator[Batch]:
            for batch in super().batches():
                keys[self.epoch] += batch.keys
                yield batch

    told = {"seed": job.seed, "data_set": inputs.data_digest, "rows": inputs.plan.rows}
    reading = Noted(inputs.train, job.data, rank=comm.rank, size=comm.size, **told)
    start = Position(0, 0, inputs.plan.steps, reading.state_dict())
    end = fit(dataclasses.replace(task, reading=reading), job, start, comm, SilentJournal(), lambda: False)
    last = task.evaluate()
    seen |= {
        "keys": keys,
        "steps": end.step,
        "remainder": inputs.plan.remainder,
        "checksum": int(weights_checksum(model)),
        "map": None if last is None else last.mean_average_precision,
    }
    if rank == comm.size - 1:
        with torch.no_grad():
            next(model.parameters()).view(-1)[0].add_(1e-6)
    seen["differ"] = ranks_that_differ(model, comm)
    Path(answers, f"rank-{rank}.json").write_text(json.dumps(seen))
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
