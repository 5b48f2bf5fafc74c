"""A bare loop with torch's DistributedDataParallel, one thread a rank: a batch in memory, and nothing else.

    torchrun --standalone --nproc-per-node 2 benchmarks/engines/train_ddp.py STEPS WARM TURN COUNT BATCH LR CLASSES

bf16 and channels-last, as the other side of the comparison has them; pictures are random numbers.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from steps_log import StepsLog
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel

LABELS = 10  # of a picture


def main(steps: str, warm: str, turn: str, count: str, batch: str, lr: str, classes: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    network = torchvision.models.resnet101(num_classes=int(classes), zero_init_residual=True)
    model = DistributedDataParallel(network.to(memory_format=torch.channels_last))
    optimizer = torch.optim.SGD(model.parameters(), lr=float(lr), momentum=0.9, weight_decay=1e-4)
    torch.manual_seed(dist.get_rank())
    images = torch.randn(int(batch), 3, 224, 224).contiguous(memory_format=torch.channels_last)
    targets = (torch.rand(int(batch), int(classes)) < LABELS / int(classes)).float()
    model.train()
    log = StepsLog(Path(steps), int(warm), int(turn)) if dist.get_rank() == 0 else None
    for _ in range(int(count)):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        loss = binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(images)
        loss.backward()
        optimizer.step()
        if log:
            log.done(loss.item())
    dist.destroy_process_group()


if __name__ == "__main__":
    assert "RANK" in os.environ, "start with torchrun"
    main(*sys.argv[1:])
