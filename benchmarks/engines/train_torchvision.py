"""The loop of torchvision's references/classification/train.py (train_one_epoch), in one process on the CPU.

    python benchmarks/engines/train_torchvision.py STEPS WARM TURN FOLDER BATCH LR CLASSES

fp32, eager, SGD with momentum 0.9 and weight decay 1e-4, DataLoader over ImageFolder with the reference's transforms
(RandomResizedCrop-224, flip, ImageNet's mean and deviation; Pillow). Three things are other than there, so that the
work and the first weights are those of train.py: many labels a picture and sigmoid cross-entropy, pictures in
the order of train.py, and the last norm of each block starts at zero. Accuracies are not computed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision
from steps_log import StepsLog
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

WORKERS = 1  # processes that decode: more have nothing to do
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ManyLabels(torchvision.datasets.ImageFolder):
    """Picture and float32 (classes,), in the order of the files' names."""

    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__(str(folder), transform=_transform())
        self._labels = json.loads((folder / "labels.json").read_text())
        self._classes = classes

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        target = torch.zeros(self._classes)
        target[self._labels[index]] = 1
        return super().__getitem__(index)[0], target


def _transform() -> Any:
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(224, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize(mean=_MEAN, std=_STD),
        ]
    )


def main(steps: str, warm: str, turn: str, folder: str, batch: str, lr: str, classes: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet101(num_classes=int(classes), zero_init_residual=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=float(lr), momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(ManyLabels(Path(folder), int(classes)), batch_size=int(batch), num_workers=WORKERS)

    def criterion(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(output, target, reduction="sum") / len(output)

    model.train()
    log = StepsLog(Path(steps), int(warm), int(turn))
    for image, target in loader:
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.done(loss.item())


if __name__ == "__main__":
    main(*sys.argv[1:])
