"""ResNet-101 as ML-Images was trained with: pre-activation bottlenecks, after the released graph.

It differs from torchvision's in five things: batch norm and ReLU come before each convolution; the first convolution
has neither, nor a pooling behind it; every stage halves the map, the first too; the shortcut of a stage's first block
has a batch norm of its own; and one last batch norm stands before the mean. Padding is the same: (k - 1) / 2.

He et al. 2016, "Identity mappings in deep residual networks" (arXiv 1603.05027), is where the block comes from.
"""

import math

import torch
from torch import Tensor, nn

BLOCKS = (3, 4, 23, 3)  # ResNet-101
STEM_CHANNELS = 64
OUTPUTS = (256, 512, 1024, 2048)  # channels of each stage; inside a block a quarter of them
EPSILON = 1.001e-5  # the graph says 1e-5, the fused batch norm that ran it had this floor
MOMENTUM = 1 - 0.997


class Block(nn.Module):
    """1x1, 3x3, 1x1, each behind batch norm and ReLU; nothing behind the sum. The 3x3 has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, project: bool) -> None:
        super().__init__()
        inner = outputs // 4
        self.bn1, self.conv1 = _batch_norm(inputs), nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn2, self.conv2 = _batch_norm(inner), nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn3, self.conv3 = _batch_norm(inner), nn.Conv2d(inner, outputs, 1, bias=False)
        self.project = project
        if project:
            self.shortcut_bn = _batch_norm(inputs)
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride), rounded up."""
        inner = self.conv1(self.bn1(maps).relu())
        inner = self.conv2(self.bn2(inner).relu())
        inner = self.conv3(self.bn3(inner).relu())
        return inner + (self.shortcut(self.shortcut_bn(maps).relu()) if self.project else maps)


class PreactivationResNet(nn.Module):
    """The network: `stem`, four `stages`, the last batch norm `bn`, the classifier `fc`."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 7, stride=2, padding=3, bias=False)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for blocks, outputs in zip(BLOCKS, OUTPUTS, strict=True):
            first = Block(inputs, outputs, 2, project=True)
            others = [Block(outputs, outputs, 1, project=False) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(first, *others))
            inputs = outputs
        self.bn = _batch_norm(inputs)
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _draw(module.weight)
        nn.init.xavier_uniform_(self.fc.weight)  # Glorot and Bengio 2010
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, classes); the input of `fc` is the feature vector, 2048 values >= 0."""
        maps = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return self.fc(self.bn(maps).relu().mean(dim=(2, 3)))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


def _draw(kernel: Tensor) -> None:
    """Variance scaling of the original: variance 1 / fan-in (not He's 2), normal, cut at two standard deviations.

    The cut takes away part of the variance, which the wider normal gives back: 0.8796 is the standard deviation of the
    standard normal between -2 and 2. Early releases of TensorFlow 1 did not give it back.
    """
    fan_in = kernel[0].numel()
    deviation = 1 / math.sqrt(fan_in) / 0.87962566103423978
    with torch.no_grad():
        nn.init.trunc_normal_(kernel, std=deviation, a=-2 * deviation, b=2 * deviation)
