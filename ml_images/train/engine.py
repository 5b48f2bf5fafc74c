"""How the same mathematics is computed: in how many pieces a step is made, in which numbers, in which order in memory.

None of it changes what is learnt but by rounding; batch norms that are local see one piece, not the step, and a model
with running statistics follows them piece by piece. Losses that are no mean over images do not go with pieces
(losses.WHOLE_STEPS).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ml_images.options import option
from ml_images.train.gradients import Compression


@dataclass(frozen=True)
class EngineConfig:
    precision: Literal["fp32", "bf16"] = option(
        "fp32", "numbers in which layers compute; weights, losses and statistics stay fp32"
    )
    accumulate: int = option(1, "batches of data.batch_size that make one step on each rank, one after the other")
    compression: Compression = option("none", "gradients on their way between ranks in 16 bits; bf16: torchrun only")
    channels_last: bool = option(False, "pictures and filters as (height, width, channel) in memory")
    compile: bool = option(False, "let torch.compile fuse the layers: minutes before the first step, faster ones after")

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"engine.accumulate must be >= 1, got {self.accumulate}")

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Within: layers compute in `precision`."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        """The order in which the model's filters lie, and pictures are to."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def prepare(self, model: nn.Module) -> nn.Module:
        """`model`, arranged and compiled in place: its tensors keep their names. To be done before training."""
        if self.channels_last:
            model = model.to(memory_format=self.memory_format)
        if self.compile:
            model.compile()
        return model
