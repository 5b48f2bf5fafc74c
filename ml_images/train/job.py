"""One training run put together: the options of train.py, and the steps that its main names one after the other."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from ml_images.errors import InputError, StorageError
from ml_images.options import option
from ml_images.provenance import provenance
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Position
from ml_images.train.comm import Comm
from ml_images.train.data import DataConfig, evaluation_batches, training_batches, training_order
from ml_images.train.dataset import Split, digest_of, read_split
from ml_images.train.evaluation import Evaluation, evaluate
from ml_images.train.journal import RunJournal
from ml_images.train.loop import Journal, LoopConfig, SilentJournal, Task
from ml_images.train.losses import multilabel_bce
from ml_images.train.model import RESNETS, ModelConfig, build_model
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.plan import EpochPlan, Stretch, evaluation_stretch, plan_epoch
from ml_images.train.progress import Progress
from ml_images.train.reader import Batch, Stages, most_bytes
from ml_images.train.replication import sure_rows
from ml_images.train.run_folder import RunFolder, write_json
from ml_images.train.schedule import ScheduleConfig, lr_schedule, peak_lr
from ml_images.train.transforms import chances_of_colour, normalise, recolour

LET_RANK_0_SPEAK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class TrainJob(LoopConfig):
    output: str = option(help="folder of the run: checkpoints, history, report, TensorBoard")
    resume: str = option("auto", "auto: go on from the newest checkpoint in output; never; or the path of a checkpoint")
    seed: int = option(0, "decides the first weights, the order of rows and every crop")
    keep_checkpoints: int = option(2, "newest checkpoints to keep, beside the best")
    data: DataConfig = dataclasses.field(default_factory=lambda: DataConfig(path="???"))
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints must be >= 1, got {self.keep_checkpoints}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in [0, 2**63), got {self.seed}")
        if self.model.name in RESNETS and (self.data.batch_size, self.data.image_size) == (1, 32):
            raise ValueError(
                "data.batch_size=1 with data.image_size=32: the last map of a ResNet is 1x1 then and batch norm would "
                "see one value per channel; choose a batch_size >= 2 or an image_size >= 33"
            )
        if self.schedule.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must be less than epochs={self.epochs}, got {self.schedule.warmup_epochs}"
            )


@dataclass(frozen=True)
class Inputs:
    """What all ranks have to know about the data before the first step."""

    train: Split
    val: Split
    plan: EpochPlan
    data_digest: str  # of the training split


def read_inputs(job: TrainJob, comm: Comm) -> Inputs:
    """The splits and the plan, looked up by rank 0 and told to the others."""

    def look() -> Any:
        train = read_split(job.data.path, "train")
        plan = plan_epoch(train, job.data.batch_size, comm.size, sure_rows(train))
        parts = [dataclasses.asdict(part) for part in (train, read_split(job.data.path, "val"), plan)]
        return [*parts, digest_of(train)]

    train, val, plan, data_digest = from_rank_0(comm, look, "inputs")
    return Inputs(_split(train), _split(val), EpochPlan(**plan), data_digest)


def _split(told: dict[str, Any]) -> Split:
    """A Split that came as JSON, which has no tuples."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Split(**values)


def build(job: TrainJob, num_classes: int, comm: Comm) -> tuple[nn.Module, Optimizer, torch.device]:
    """The network and its optimizer on this rank's device, weights drawn from the seed."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // comm.local_size))
    torch.manual_seed(job.seed)
    device = torch.device("cuda", comm.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    model = build_model(job.model, num_classes).to(device)
    return model, comm.wrap_optimizer(build_optimizer(job.optim, model), model), device


def open_run(
    job: TrainJob, config: dict[str, Any], inputs: Inputs, model: nn.Module, optimizer: Optimizer, comm: Comm
) -> Position:
    """Put all ranks where the run goes on, at its start or at a checkpoint, and then claim the output folder."""
    folder = RunFolder(job.output)

    def claim() -> Any:
        folder.refuse_foreign()
        start = folder.find_start(job.resume)
        position = Position(0, 0, 0, inputs.plan.steps, row_order(job, inputs))
        if start is not None:
            position = continue_from(start.position, position, job.epochs, inputs.plan)
            checkpoint.restore(start, model, optimizer)
        folder.claim(config)  # only now: a start that is refused leaves the folder as it was
        folder.forget_after(position.epoch)
        return dataclasses.asdict(position)

    position = Position(**from_rank_0(comm, claim, "start"))
    checkpoint.share(model, optimizer, comm)
    return position


def row_order(job: TrainJob, inputs: Inputs) -> dict[str, Any]:
    """What decides the order of rows: were any of it changed within an epoch, rows would come twice or never."""
    return {"data set": inputs.data_digest, "seed": job.seed}


def continue_from(was: Position, fresh: Position, epochs: int, plan: EpochPlan) -> Position:
    """Where a run that was at `was` goes on under `plan`, of which `fresh` is the beginning.

    In the middle of an epoch it goes on with the rows that are left, whatever the number of ranks and the batch size
    were. Raises InputError when the order of rows changed in the middle of an epoch, or when the epochs are over.
    """
    if was.step_in_epoch:
        for name, now in fresh.order.items():
            if was.order.get(name) != now:
                raise InputError(
                    f"the checkpoint is in the middle of an epoch with {name}={was.order.get(name)}, this run has "
                    f"{name}={now}: go on with the same, or from a checkpoint at the end of an epoch"
                )
    if was.epoch > epochs:
        raise InputError(f"the checkpoint has {was.epoch} epochs behind it, epochs={epochs} asks for fewer")
    done = plan.steps - plan.steps_from(was.place) if was.step_in_epoch else 0
    return dataclasses.replace(was, step_in_epoch=done, steps_per_epoch=plan.steps, order=fresh.order)


def make_task(
    job: TrainJob,
    inputs: Inputs,
    model: nn.Module,
    optimizer: Optimizer,
    device: torch.device,
    comm: Comm,
    stages: Stages,
) -> Task:
    """What `loop.fit` trains; `stages` takes up the time that reading takes."""
    data, plan = job.data, inputs.plan
    peak = peak_lr(job.optim.lr, plan.rows_per_step)

    def batches(epoch: int, place: int) -> Iterator[Batch]:
        stretch = Stretch(comm.rank, comm.size, plan.batch_size, place, plan.steps_from(place))
        return training_batches(inputs.train, data, stretch, seed=job.seed, epoch=epoch, stages=stages)

    def to_device(batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        images = batch.images.to(device, non_blocking=True)
        if data.augmentation == "ml_images" or data.colour:
            chances = chances_of_colour(job.seed, epoch, batch.places)
            images = recolour(images, data.augmentation, data.colour, chances)
        targets = batch.targets.dense(inputs.train.num_classes, batch.mask, device)
        images = normalise(images, data.augmentation)
        if batch.mask.all() or not batch.mask.any():
            return images, targets
        there = batch.mask.to(device, non_blocking=True)  # black pictures would spoil batch norm, and the mean loss
        return images[there], targets[there]

    def evaluate_split() -> Evaluation | None:
        if not inputs.val.rows:
            return None
        stretch = evaluation_stretch(inputs.val.rows, data.batch_size, comm.rank, comm.size)
        scored = evaluation_batches(inputs.val, data, stretch)
        found = evaluate(model, scored, inputs.val.num_classes, multilabel_bce, comm, device, data.evaluation)
        return dataclasses.replace(found, left_out=inputs.val.rows - found.rows)

    return Task(
        model=model,
        optimizer=optimizer,
        loss=multilabel_bce,
        batches=batches,
        inputs=to_device,
        rows_per_step=plan.rows_per_step,
        evaluate=evaluate_split,
        lr_at=lr_schedule(job.schedule, peak, job.epochs, plan.steps),
        skipped=lambda: stages.skipped,
    )


def open_journal(
    job: TrainJob,
    config: dict[str, Any],
    task: Task,
    inputs: Inputs,
    start: Position,
    comm: Comm,
    device: torch.device,
    stages: Stages,
) -> Journal:
    """Rank 0's journal, after it has said what was derived from options and data; silence elsewhere."""
    if comm.rank:
        return SilentJournal()
    plan = inputs.plan
    total_steps = start.step + job.epochs * plan.steps - start.step_of_plan
    global_batch = plan.batch_size * plan.size
    progress = Progress(sys.stdout, total_steps, global_batch)
    progress.note(f"an epoch: {plan}")
    stretch = Stretch(0, plan.size, plan.batch_size, 0, plan.steps)
    most = most_bytes(training_order(inputs.train, job.seed, 0), stretch, inputs.train.largest, job.data.image_size)
    progress.note(f"reading holds at most {most / 1e6:.0f} MB on each rank: row groups and batches")
    progress.note(
        f"{job.epochs} epochs, {total_steps} steps, from step {start.step}; {job.model.name} with "
        f"{inputs.train.num_classes} outputs on {device.type}; peak learning rate {job.optim.lr:g} "
        f"x {global_batch} / 256 = {peak_lr(job.optim.lr, global_batch):g} after {job.schedule.warmup_epochs:g} epochs"
    )
    if not inputs.val.rows:
        progress.note("the validation split is empty: nothing is evaluated")
    folder = RunFolder(job.output)
    with checkpoint.storage_errors(folder.tensorboard):
        writer = SummaryWriter(str(folder.tensorboard), purge_step=start.step + 1)
    return RunJournal(
        folder, progress, writer, task.model, task.optimizer, config, global_batch, job.keep_checkpoints, stages
    )


def write_report(job: TrainJob, config: dict[str, Any], inputs: Inputs, end: Position, comm: Comm) -> None:
    """report.json of a finished run, and its summary on rank 0's stdout."""
    if comm.rank:
        return
    folder = RunFolder(job.output)
    history = folder.read_history()
    evaluated = [record for record in history if "validation" in record]
    report = {
        "job": "train",
        "steps": end.step,
        "epochs": end.epoch,
        "ranks": comm.size,
        "rows": {"train": inputs.train.rows, "val": inputs.val.rows},
        "remainder_per_epoch": inputs.plan.remainder,
        "num_classes": inputs.train.num_classes,
        "validation": evaluated[-1]["validation"] if evaluated else None,
        "history": history,
        "config": config,
        **provenance(),
    }
    write_json(folder.report, report)
    print(f"trained {end.step} steps in {end.epoch} epochs; report: {folder.report}", flush=True)


def from_rank_0(comm: Comm, make: Callable[[], Any], name: str) -> Any:
    """What `make` returns on rank 0 (JSON), on every rank.

    When it raises InputError or StorageError there, the other ranks leave with exit code 2 and rank 0 alone tells why.
    """
    answer: Any = None
    if comm.rank == 0:
        try:
            answer = {"value": make()}
        except (InputError, StorageError):
            comm.broadcast_json({}, name)
            raise
    answer = comm.broadcast_json(answer, name)
    if "value" not in answer:
        leave_to_rank_0()
    return answer["value"]


def leave_to_rank_0() -> NoReturn:
    """End a rank that has the same wrong input as rank 0, late enough for rank 0 to say so.

    horovodrun ends all ranks as soon as the first one fails, which has to be the one that speaks.
    """
    time.sleep(LET_RANK_0_SPEAK_S)
    raise SystemExit(2)
