"""What one rank of an engine saw, written down for a test: started by horovodrun or torchrun with a folder for answers.

Tries each collective with values that the test knows, and takes two steps of a small network on this rank's share of a
batch that all ranks could draw, with batch norm over all of them.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ml_images.errors import InputError
from ml_images.train.agreement import ranks_that_differ
from ml_images.train.comm import Comm, open_comm
from ml_images.train.gradients import Compression
from ml_images.train.networks import build_network
from ml_images.train.sync_batch_norm import synchronise_batch_norms


def trained(comm: Comm, compression: Compression = "none", memory_format: Any = torch.contiguous_format) -> nn.Module:
    """Two steps on 8 pictures, of which each rank gets its share; the weights start as rank 0's."""
    torch.manual_seed(comm.rank)
    model = build_network("tiny_cnn", 3).double().to(memory_format=memory_format)
    comm.broadcast(model.state_dict())
    synchronise_batch_norms(model, comm)
    average = comm.average_gradients(model, compression)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    torch.manual_seed(7)
    images, targets = torch.randn(8, 3, 16, 16, dtype=torch.float64), torch.rand(8, 3, dtype=torch.float64)
    for _ in range(2):
        optimizer.zero_grad()
        logits = model(images.chunk(comm.size)[comm.rank])
        nn.functional.binary_cross_entropy_with_logits(logits, targets.chunk(comm.size)[comm.rank]).backward()
        average.wait()
        optimizer.step()
    return model


def weights(model: nn.Module) -> list[float]:
    """All parameters and statistics in a row."""
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in model.state_dict().values()]).tolist()


def main(answers: str) -> None:
    torch.set_num_threads(1)
    comm = open_comm(os.environ)
    rank, values = comm.rank, torch.arange(6.0).reshape(2, 3).t()
    told = {"a": torch.full((2,), float(rank)), "b": torch.tensor(rank), "c": (values + rank).clone()}
    comm.broadcast(told)
    models = {
        "none": trained(comm),
        "channels_last": trained(comm, memory_format=torch.channels_last),
        "fp16": trained(comm, "fp16"),
    }
    try:
        models["bf16"] = trained(comm, "bf16")
        refused = None
    except InputError as error:
        refused = str(error)
    seen = {
        "size": [comm.size, comm.local_rank, comm.local_size],
        "sum": comm.sum(torch.tensor([rank, 1]), "probe.sum").tolist(),
        "sum of columns": comm.sum(values, "probe.columns").tolist(),
        "gather": comm.gather(torch.full((2 * rank, 2), rank), "probe.gather").tolist(),
        "gather of nothing": list(comm.gather(torch.zeros(0, 3), "probe.nothing").shape),
        "json": comm.broadcast_json({"from": rank, "text": "é" * 9} if rank == 0 else None, "probe.json"),
        "broadcast": [told["a"].tolist(), int(told["b"]), told["c"].tolist()],
        "weights": {name: weights(model) for name, model in models.items()},
        "refused": refused,
    }
    if rank == comm.size - 1:
        with torch.no_grad():
            next(models["none"].parameters()).view(-1)[0].add_(1e-6)
    seen["differ"] = ranks_that_differ(models["none"], comm)
    Path(answers, f"rank-{rank}.json").write_text(json.dumps(seen))
    comm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
