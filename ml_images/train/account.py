"""What rank 0 tells people: what was derived from options and data before the first step, and how the run ended."""

import sys
from dataclasses import replace
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from ml_images.provenance import provenance
from ml_images.train import checkpoint
from ml_images.train.checkpoint import Position
from ml_images.train.class_tables import read_class_names
from ml_images.train.comm import Comm
from ml_images.train.data import open_reader
from ml_images.train.inputs import Inputs
from ml_images.train.job import TrainJob
from ml_images.train.journal import RunJournal
from ml_images.train.loop import Journal, SilentJournal, Task
from ml_images.train.plan import times_read
from ml_images.train.progress import Progress
from ml_images.train.reader import Stages
from ml_images.train.reading_memory import most_bytes
from ml_images.train.run_folder import RunFolder, write_json
from ml_images.train.schedule import peak_lr


def open_journal(
    job: TrainJob,
    config: dict[str, Any],
    task: Task,
    inputs: Inputs,
    start: Position,
    comm: Comm,
    device: torch.device,
    stages: Stages,
    told: str,
) -> Journal:
    """Rank 0's journal, after it has said what was derived, and `told`; silence elsewhere."""
    if comm.rank:
        return SilentJournal()
    plan, accumulate = inputs.plan, job.engine.accumulate
    total_steps = start.step + job.epochs * plan.steps - start.step_of_plan
    progress = Progress(sys.stdout, total_steps, plan.rows_per_step)
    pieces = f", each as {accumulate} batches of {job.data.batch_size} a rank" if accumulate > 1 else ""
    progress.note(f"an epoch: {plan}{pieces}")
    times = times_read(inputs.train.lanes, plan.size)
    if times > 1:
        progress.note(
            f"each row group is read by {times} of the {plan.size} ranks, as the data set was written for "
            f"{inputs.train.lanes} or a divisor of that: jobs/materialize.py layout.ranks={plan.size} makes it one"
        )
    if start.place:  # perhaps consumed by another plan, so what is left over is another number
        left, steps = plan.rows - start.place, plan.steps_from(start.place)
        progress.note(
            f"epoch {start.epoch + 1} goes on behind {start.place} rows: {left} rows = {steps} steps"
            f" + {left - steps * plan.rows_per_step} left over"
        )
    data = replace(job.data, image_size=max(job.image_sizes))
    splits = inputs.train, replace(inputs.val, replicated=False)  # one after the other; an evaluation repeats nothing
    most = max(most_bytes(open_reader(split, data), split, data.batch_size, plan.size) for split in splits)
    progress.note(
        f"reading holds at most {most / 1e6:.0f} MB on each rank: row groups and batches; pixels that are "
        f"being decoded (data.decode_threads={data.decode_threads}) come on top"
    )
    if told:
        progress.note(told)
    progress.note(
        f"epochs={job.epochs}: {total_steps} steps, from step {start.step}; {job.model.name} with "
        f"{inputs.train.num_classes} outputs on {device.type}; peak learning rate {job.optim.lr:g} "
        f"x {plan.rows_per_step} / 256 = {peak_lr(job.optim.lr, plan.rows_per_step):g} after "
        f"schedule.warmup_epochs={job.schedule.warmup_epochs:g}"
    )
    if not inputs.val.rows:
        progress.note("the validation split is empty: nothing is evaluated")
    folder = RunFolder(job.output)
    with checkpoint.storage_errors(folder.tensorboard):
        writer = SummaryWriter(str(folder.tensorboard), purge_step=start.step + 1)
    return RunJournal(
        folder,
        progress,
        writer,
        task.state,
        config,
        plan.rows_per_step,
        job.keep_checkpoints,
        stages,
        read_class_names(inputs.train),
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
    print(f"trained {end.step} steps, {end.epoch} of {job.epochs} epochs; report: {folder.report}", flush=True)
    kept = checkpoint.list_checkpoints(folder.checkpoints)
    if kept and not (folder.checkpoints / checkpoint.BEST).exists():
        print(f"no epoch was scored, so there is no {checkpoint.BEST}: the last checkpoint is {kept[-1]}", flush=True)
