"""What all ranks have to know about the data before the first step: looked up by rank 0 and told to the others."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ml_images.errors import InputError
from ml_images.train.class_tables import COUNTS, read_hierarchy, read_training_images
from ml_images.train.comm import Comm
from ml_images.train.dataset import Split, digest_of, read_split
from ml_images.train.group_size import GroupSize
from ml_images.train.job import TrainJob
from ml_images.train.label_counts import LabelCounts
from ml_images.train.metrics import ClassFacts
from ml_images.train.plan import EpochPlan, plan_epoch
from ml_images.train.rank_0 import from_rank_0
from ml_images.train.replication import sure_rows


@dataclass(frozen=True)
class Inputs:
    """The data of a run; `plan` counts all batches of a step as one."""

    train: Split
    val: Split
    plan: EpochPlan
    data_digest: str  # of the training split
    classes: ClassFacts

    @property
    def counts(self) -> LabelCounts | None:
        """How often each class is there in the training split, where that is known."""
        images = self.classes.training_images
        return None if images is None else LabelCounts(torch.from_numpy(images), self.train.rows)


def read_inputs(job: TrainJob, comm: Comm, known: Inputs | None = None) -> Inputs:
    """The splits, the plan and the classes. Raises InputError for data that the job cannot be made with.

    `known`: what rank 0 was told before, with other ranks; then only the plan is made anew.
    """

    def look() -> Any:
        train = known.train if known else read_split(job.data.path, "train")
        rows = known.plan.rows if known else sure_rows(train)
        plan = plan_epoch(train, job.data.batch_size, comm.size, rows, job.engine.accumulate)
        val = known.val if known else read_split(job.data.path, "val")
        parts = [dataclasses.asdict(part) for part in (train, val, plan)]
        if known:
            facts = vars(known.classes).items()
            return [*parts, known.data_digest, {name: v if v is None else v.tolist() for name, v in facts}]
        return [*parts, digest_of(train), _read_classes(job, train)]

    train, val, plan, data_digest, told = from_rank_0(comm, look, "inputs")
    arrays = {name: None if values is None else np.array(values) for name, values in told.items()}
    return Inputs(_split(train), _split(val), EpochPlan(**plan), data_digest, ClassFacts(**arrays))


def _read_classes(job: TrainJob, train: Split) -> dict[str, list[int] | None]:
    """ClassFacts as JSON."""
    images, hierarchy = read_training_images(train), read_hierarchy(train)
    wanted = "prior_bias=true" if job.prior_bias else f"loss.name={job.loss.name}" if job.loss.needs_counts else ""
    if wanted and images is None:
        raise InputError(
            f"{wanted} needs the table {COUNTS}, which jobs/materialize.py writes beside its data set; it is missing "
            f"beside '{job.data.path}'"
        )
    return {
        "training_images": None if images is None else images.tolist(),
        "depths": hierarchy and hierarchy.depths.tolist(),
        "leaves": hierarchy and hierarchy.leaves.tolist(),
    }


def _split(told: dict[str, Any]) -> Split:
    """A Split that came as JSON, which has no tuples."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Split(**values | {"largest": GroupSize(*told["largest"])})
