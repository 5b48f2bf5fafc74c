"""The options of train.py, and what has to hold between them."""

import dataclasses
from dataclasses import dataclass

from ml_images.options import option
from ml_images.train.data import DataConfig
from ml_images.train.elastic import ElasticConfig
from ml_images.train.ema import EmaConfig
from ml_images.train.engine import EngineConfig
from ml_images.train.loop import LoopConfig
from ml_images.train.losses import WHOLE_STEPS, LossConfig
from ml_images.train.model import ModelConfig
from ml_images.train.optimizers import OptimConfig
from ml_images.train.resolution import ResolutionConfig
from ml_images.train.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class TrainJob(LoopConfig):
    output: str = option(help="folder of the run: checkpoints, history, report, TensorBoard")
    resume: str = option("auto", "auto: go on from the newest checkpoint in output; never; or the path of a checkpoint")
    start_from: str = option(
        "",
        "weights to begin with, all but a head of other classes: a checkpoint, .safetensors, or .npz of the original",
    )
    prior_bias: bool = option(False, "begin with outputs that predict each class as often as it is there")
    seed: int = option(0, "decides the first weights, the order of rows and every crop")
    keep_checkpoints: int = option(2, "newest checkpoints to keep, beside the best")
    data: DataConfig = dataclasses.field(default_factory=lambda: DataConfig(path="???"))
    resolution: ResolutionConfig = dataclasses.field(default_factory=ResolutionConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    ema: EmaConfig = dataclasses.field(default_factory=EmaConfig)
    engine: EngineConfig = dataclasses.field(default_factory=EngineConfig)
    elastic: ElasticConfig = dataclasses.field(default_factory=ElasticConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints must be >= 1, got {self.keep_checkpoints}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2**63), got {self.seed}")
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be less than epochs={self.epochs}, got {self.schedule.warmup_epochs}"
            )
        if self.loss.name in WHOLE_STEPS and self.engine.accumulate > 1:
            raise ValueError(
                f"loss.name={self.loss.name} {WHOLE_STEPS[self.loss.name]}: engine.accumulate must be 1, got "
                f"{self.engine.accumulate}; more ranks or a larger data.batch_size make larger steps"
            )

        training, evaluation = self.data.augmentation, self.data.evaluation
        if training.startswith("ml_images") != evaluation.startswith("ml_images"):
            raise ValueError(
                f"data.augmentation={training} and data.evaluation={evaluation} scale pixels in different ways: both "
                "must be of ml_images (evaluation also ml_images_single), or neither"
            )

    @property
    def image_sizes(self) -> list[int]:
        """The sizes that training pictures have, epoch after epoch."""
        return self.resolution.sizes or [self.data.image_size]
