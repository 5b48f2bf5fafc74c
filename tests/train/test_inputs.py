import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.labels.per_split import per_split_table
from ml_images.schemas import VOCABULARY
from ml_images.storage import tables
from ml_images.train.comm import LocalComm
from ml_images.train.data import DataConfig
from ml_images.train.engine import EngineConfig
from ml_images.train.inputs import Inputs, read_inputs
from ml_images.train.job import TrainJob
from ml_images.train.losses import LossConfig
from ml_images.train.plan import EpochPlan, plan_epoch


def read(dataset: Path, **options: Any) -> Inputs:
    job = TrainJob(output="run", data=DataConfig(path=str(dataset), batch_size=10), **options)
    return read_inputs(job, LocalComm())


@pytest.fixture
def told(dataset: Path, tmp_path: Path) -> Path:
    """The data set with a vocabulary in it, 0 above 1 to 3, 1 above 4 and 5, and a table of counts beside it."""
    made = shutil.copytree(dataset, tmp_path / "told" / "dataset")
    parents = [[], [0], [0], [0], [1], [1]]
    rows = [
        {"class": number, "id": str(number), "names": ["x"], "parents": above, "depth": depth}
        for number, (above, depth) in enumerate(zip(parents, (0, 1, 1, 1, 2, 2), strict=True))
    ]
    tables.write_part(str(made / "_vocabulary"), pa.Table.from_pylist(rows, VOCABULARY))
    counts = {"train": np.array([9, 8, 7, 6, 0, 192]), "val": np.array([1, 1, 1, 1, 1, 1])}
    tables.write_table(str(made.parent / "labels_per_split"), "labels_per_split", per_split_table(counts))
    return made


def test_inputs_are_the_splits_and_the_plan(dataset: Path) -> None:
    job = TrainJob(output="run", data=DataConfig(path=str(dataset), batch_size=10))
    inputs = read_inputs(job, LocalComm())
    assert (inputs.train.rows, inputs.val.rows, inputs.train.num_classes) == (192, 24, 6)
    assert inputs.plan == EpochPlan(rows=192, steps=19, batch_size=10, size=1)


def test_a_plan_counts_all_batches_of_a_step(dataset: Path) -> None:
    inputs = read(dataset, engine=EngineConfig(accumulate=4))
    assert inputs.plan == EpochPlan(rows=192, steps=4, batch_size=40, size=1)


def test_classes_are_known_as_far_as_somebody_wrote_them_down(dataset: Path, told: Path) -> None:
    unknown = read(dataset)
    assert (unknown.classes.depths, unknown.classes.leaves, unknown.counts) == (None, None, None)
    known = read(told)
    assert known.classes.depths is not None and known.classes.depths.tolist() == [0, 1, 1, 1, 2, 2]
    assert known.classes.leaves is not None and known.classes.leaves.tolist() == [False, False, True, True, True, True]
    assert known.counts is not None and known.counts.positives.tolist() == [9, 8, 7, 6, 0, 192]
    assert known.counts.images == 192


@pytest.mark.parametrize("what", ["prior_bias=true", "loss.name=distribution_balanced"])
def test_counts_that_are_needed_are_asked_for(dataset: Path, told: Path, what: str) -> None:
    options: dict[str, Any] = (
        {"prior_bias": True} if what == "prior_bias=true" else {"loss": LossConfig("distribution_balanced")}
    )
    with pytest.raises(InputError, match=f"{what} needs the table labels_per_split, which jobs/materialize.py writes"):
        read(dataset, **options)
    assert read(told, **options).counts is not None


@pytest.mark.parametrize("counts", [[193, 0, 0, 0, 0, 0], [1] * 7])
def test_counts_of_another_data_set_are_refused(told: Path, counts: list[int]) -> None:
    table = per_split_table({"train": np.array(counts)})
    tables.write_table(str(told.parent / "labels_per_split"), "labels_per_split", table)
    with pytest.raises(InputError, match="has 192 rows and 6 classes: it is of another data set"):
        read(told)


def test_a_vocabulary_of_another_data_set_is_refused(told: Path) -> None:
    vocabulary = tables.read_part(str(told / "_vocabulary"))
    tables.write_part(str(told / "_vocabulary"), vocabulary.slice(1))
    with pytest.raises(InputError, match="_vocabulary has 5 classes, the manifest beside it 6"):
        read(told)


def test_counts_of_another_state_of_the_data_set_are_refused(told: Path) -> None:
    manifest = told / "_manifest.json"
    promised = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(promised | {"labels": {"train": 222, "val": 6}}))
    counts = read(told).counts
    assert counts is not None and counts.positives.sum() == 222
    manifest.write_text(json.dumps(promised | {"labels": {"train": 232, "val": 6}}))
    with pytest.raises(InputError, match=r"counts 222 labels .* beside it 232: .* run it again with append=true"):
        read(told)


def test_what_is_known_is_told_to_other_ranks_without_another_look(told: Path) -> None:
    known = read(told)
    shutil.rmtree(told)
    job = TrainJob(output="run", data=DataConfig(path=str(told), batch_size=20))
    found = read_inputs(job, LocalComm(), known)
    assert (found.train, found.val, found.data_digest) == (known.train, known.val, known.data_digest)
    assert found.plan == plan_epoch(known.train, 20, 1)
    for facts, expected in zip(vars(found.classes).values(), vars(known.classes).values(), strict=True):
        assert facts.tolist() == expected.tolist() and facts.dtype == expected.dtype
