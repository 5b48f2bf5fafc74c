"""Where a run begins: with weights from a seed, with those of another network, or where it was interrupted."""

import dataclasses
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ml_images.errors import InputError
from ml_images.train.backbone import load_backbone
from ml_images.train.checkpoint import Checkpoint, Position
from ml_images.train.cifar_net import CifarNet, whiten
from ml_images.train.comm import Comm
from ml_images.train.data import training_pictures
from ml_images.train.elastic import Commit
from ml_images.train.ema import WeightMean
from ml_images.train.host_memory import keep_freed_memory
from ml_images.train.inputs import Inputs
from ml_images.train.job import TrainJob
from ml_images.train.label_counts import start_from_prior
from ml_images.train.loop import Reading, Task
from ml_images.train.losses import make_loss
from ml_images.train.model import build_model
from ml_images.train.optimizers import build_optimizer
from ml_images.train.picture_sizes import check_picture_sizes
from ml_images.train.plan import EpochPlan
from ml_images.train.rank_0 import from_rank_0
from ml_images.train.run_folder import RunFolder
from ml_images.train.run_state import RunState

WHITENED = 2048  # pictures that whitening looks at: two million patches, of which 12 by 12 covariances are wanted

log = logging.getLogger(__name__)


def build(job: TrainJob, inputs: Inputs, comm: Comm) -> tuple[RunState, torch.device]:
    """The network and all that is trained with it, on this rank's device, weights drawn from the seed.

    Raises InputError, on all ranks, for stages that the network has not, and for pictures that it does not take.
    """
    check_picture_sizes(job, comm)
    torch.set_num_threads(max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)) // comm.local_size)))
    torch.manual_seed(job.seed)
    device = torch.device("cuda", comm.local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cpu":
        keep_freed_memory()
    num_classes = inputs.train.num_classes
    model = job.engine.prepare(build_model(job.model, num_classes, comm).to(device))
    counts = inputs.counts if job.loss.needs_counts else None
    loss = make_loss(job.loss, num_classes, comm, counts, job.seed).to(device)
    mean = WeightMean(model) if job.ema.half_life_epochs else None
    return RunState(model, build_optimizer(job.optim, model), loss, mean), device


@contextmanager
def open_run(
    job: TrainJob, config: dict[str, Any], inputs: Inputs, task: Task, comm: Comm, commit: Commit | None = None
) -> Iterator[tuple[Position, str]]:
    """Put all ranks where the run goes on, at its start or at a checkpoint; within, the output folder is this run's.

    Where rank 0 has been in the run already, with other ranks, it goes on at its `commit`. Gives the place, and one
    line on what it began with, "" where there is nothing to say. Raises InputError, on all ranks, while another run
    writes into the folder.
    """
    folder = RunFolder(job.output)
    task.state.fit_ranks()
    with ExitStack() as held:

        def claim() -> Any:
            if commit and commit.position:
                _hold_again(folder, held)
                position = continue_from(commit.position, task.reading, job.epochs, inputs.plan)
                commit.restore(task.state)
                folder.forget_after(position.epoch)
                return [
                    dataclasses.asdict(position),
                    f"the ranks have changed: {comm.size} go on behind step {position.step}",
                ]
            folder.refuse_foreign()
            is_there = folder.path.is_dir()
            if is_there:
                held.enter_context(folder.locked())
            start = folder.find_start(job.resume)
            if start is None:
                position = Position(0, 0, inputs.plan.steps, task.reading.state_dict())
                told = begin(job, inputs, task.state)
            else:
                position = continue_from(start.position, task.reading, job.epochs, inputs.plan)
                told = ""
                go_on(job, start, task.state)
            if not is_there:  # only now: a start that is refused leaves the folder as it was
                held.enter_context(folder.locked())
            folder.claim(config)
            folder.forget_after(position.epoch)
            return [dataclasses.asdict(position), told]

        position, told = from_rank_0(comm, claim, "start")
        task.state.share(comm)
        yield Position(**position), told


def _hold_again(folder: RunFolder, held: ExitStack) -> None:
    """Lock the folder of a run that goes on without a rank that had locked it.

    A lost machine keeps its lock on a shared file system until the server has given it up, minutes perhaps: the run
    does not end for that.
    """
    try:
        held.enter_context(folder.locked())
    except InputError as error:
        log.warning("%s; going on without the lock, which a lost rank of this run may hold", error)


def begin(job: TrainJob, inputs: Inputs, state: RunState) -> str:
    """Give `state` the weights that a new run begins with; one line on where they came from.

    Loaded weights come last: a head that comes with them keeps its biases. Raises InputError.
    """
    if job.prior_bias:
        assert inputs.counts is not None
        try:
            start_from_prior(state.model, inputs.counts, job.loss.activation)
        except ValueError as error:
            raise InputError(f"prior_bias=true does not go with model.name={job.model.name}: {error}") from error
    if job.model.whitening:
        assert isinstance(state.model, CifarNet)
        whiten(state.model, training_pictures(inputs.train, job.data, WHITENED, job.seed))
    told = load_backbone(state.model, Path(job.start_from)) if job.start_from else ""
    state.begin_mean()
    return told


def go_on(job: TrainJob, start: Checkpoint, state: RunState) -> None:
    """Give `state` what the checkpoint holds. Raises InputError for what another run has learnt."""
    for section, name in (("optim", job.optim.name), ("loss", job.loss.name)):
        was = start.config.get(section, {}).get("name", name)
        if was != name:
            raise InputError(
                f"the checkpoint was trained with {section}.name={was}, this run has {name}: go on with the same, or "
                "begin anew with its weights (start_from and another output)"
            )
    state.load(start.tensors)


def continue_from(was: Position, reading: Reading, epochs: int, plan: EpochPlan) -> Position:
    """Where a run that was at `was` goes on under `plan`; `reading` then stands there.

    In the middle of an epoch it goes on with the rows that are left, whatever the number of ranks and the batch size
    were. Raises InputError when the order of rows changed in the middle of an epoch, or when the epochs are over.
    """
    reading.load_state_dict(was.reading)
    if was.epoch > epochs:
        raise InputError(f"the checkpoint has {was.epoch} epochs behind it, epochs={epochs} asks for fewer")
    done = plan.steps - plan.steps_from(was.place)
    return dataclasses.replace(was, step_in_epoch=done, steps_per_epoch=plan.steps, reading=reading.state_dict())
