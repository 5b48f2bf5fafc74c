"""What `loop.fit` trains, put together out of the options: rows, arithmetic on them, learning rates, evaluation."""

import dataclasses

import torch
from torch import Tensor

from ml_images.train.checkpoint import storage_errors
from ml_images.train.comm import Comm
from ml_images.train.data import TrainingReader, evaluation_batches
from ml_images.train.evaluation import Evaluation, evaluate
from ml_images.train.inputs import Inputs
from ml_images.train.job import TrainJob
from ml_images.train.loop import Task
from ml_images.train.losses import evaluation_loss
from ml_images.train.plan import evaluation_stretch
from ml_images.train.reader import Batch, Stages
from ml_images.train.run_folder import RunFolder
from ml_images.train.run_state import RunState
from ml_images.train.schedule import lr_schedule, peak_lr
from ml_images.train.targets import Targets, from_sparse
from ml_images.train.transforms import chances_of_colour, normalise, recolour


def make_task(job: TrainJob, inputs: Inputs, state: RunState, device: torch.device, comm: Comm, stages: Stages) -> Task:
    """`stages` takes up the time that reading takes. Raises InputError, on all ranks, for a compression that the engine
    has not."""
    data, plan = job.data, inputs.plan

    def to_device(batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
        images = batch.images.to(device, non_blocking=True)
        if data.augmentation == "ml_images" or data.colour:
            chances = chances_of_colour(job.seed, epoch, batch.places)
            images = recolour(images, data.augmentation, data.colour, chances)
        images = normalise(images, data.augmentation, job.engine.memory_format)
        targets = from_sparse(batch.targets, inputs.train.num_classes, batch.mask, device, job.loss.unlisted_is)
        if not batch.mask.all():
            # A picture that was left out becomes an even grey without labels. Were the batch made smaller, a rank that
            # lost one would count its others for more than another rank does, and where one alone is left batch norm
            # would have nothing to take a variance of. The price: batch norm sees the grey, not black, in its place.
            images.masked_fill_(~targets.rows.view(-1, 1, 1, 1), 0.0)  # in place: it keeps the memory format
        return images, targets

    def evaluate_split() -> Evaluation | None:
        if not inputs.val.rows:
            return None
        stretch = evaluation_stretch(inputs.val.rows, data.batch_size, comm.rank, comm.size)
        scratch = RunFolder(job.output).path
        with storage_errors(scratch):
            scratch.mkdir(parents=True, exist_ok=True)  # another machine may not have it yet
        with job.engine.autocast(device):
            found = evaluate(
                state.model,
                evaluation_batches(inputs.val, data, stretch),
                inputs.val.num_classes,
                evaluation_loss(job.loss),
                comm,
                device,
                data.evaluation,
                inputs.classes,
                scratch,
                job.loss.unlisted_is,
                job.loss.activation,
            )
        return dataclasses.replace(found, left_out=inputs.val.rows - found.rows)

    return Task(
        state=state,
        average=comm.average_gradients(state.model, job.engine.compression),
        reading=open_reading(job, inputs, comm, stages),
        inputs=to_device,
        rows_per_step=plan.rows_per_step,
        evaluate=evaluate_split,
        lr_at=lr_schedule(job.schedule, peak_lr(job.optim.lr, plan.rows_per_step), job.epochs, plan.steps),
        engine=job.engine,
        mean_decay=job.ema.decay(plan.steps) if state.mean else 0.0,
    )


def open_reading(job: TrainJob, inputs: Inputs, comm: Comm, stages: Stages) -> TrainingReader:
    """This rank's rows; `stages` takes up the time that reading takes."""
    return TrainingReader(
        inputs.train,
        job.data,
        seed=job.seed,
        data_set=inputs.data_digest,
        rows=inputs.plan.rows,
        rank=comm.rank,
        size=comm.size,
        resolution=job.resolution,
        stages=stages,
    )
