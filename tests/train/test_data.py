import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import petastorm
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from dataset_builder import write_metadata

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.train.data import (
    Batch,
    DataConfig,
    Row,
    dense_targets,
    evaluation_batches,
    training_batches,
    transform_spec,
)
from ml_images.train.dataset import Split, plan_epoch, read_split

Make = Callable[..., Path]


def config(root: Path, **options: object) -> DataConfig:
    defaults = {"batch_size": 5, "image_size": 32, "shuffle_rows": 20}
    return DataConfig(path=str(root), **{**defaults, **options})


def epoch_of(split: Split, data: DataConfig, rank: int, size: int, *, epoch: int = 0, skip: int = 0) -> list[Batch]:
    steps = plan_epoch(split, data.batch_size, size).steps
    batches = training_batches(split, data, seed=7, epoch=epoch, rank=rank, size=size, skip=skip)
    return [batch for batch, _ in zip(batches, range(steps - skip), strict=False)]


def keys_of(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_row_comes_once_an_epoch_but_for_the_declared_remainder(make_dataset: Make, size: int) -> None:
    root = make_dataset(train=(24, 23, 24, 24, 24, 24, 25, 24, 24), val=(2,))
    split, data = read_split(str(root), "train"), config(root)
    plan = plan_epoch(split, data.batch_size, size)
    ranks = [epoch_of(split, data, rank, size) for rank in range(size)]
    assert {len(batches) for batches in ranks} == {plan.steps}
    assert {len(batch.keys) for batches in ranks for batch in batches} == {data.batch_size}
    keys = [key for batches in ranks for key in keys_of(batches)]
    assert len(set(keys)) == len(keys) == split.rows - plan.remainder


def test_an_incomplete_batch_never_comes(dataset: Path) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset, batch_size=7)
    lengths = [len(batch.keys) for batch in training_batches(split, data, seed=0, epoch=0, rank=0, size=2)]
    assert lengths == [7] * (96 // 7)


def test_without_a_remainder_every_row_comes_once(dataset: Path) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset, batch_size=8)
    keys = [key for rank in range(4) for key in keys_of(epoch_of(split, data, rank, 4))]
    assert sorted(keys) == [f"train-{index:05d}" for index in range(192)]


def test_order_and_pixels_depend_on_seed_and_epoch_and_not_on_threads(dataset: Path) -> None:
    split = read_split(str(dataset), "train")
    once = epoch_of(split, config(dataset, decode_threads=1), 1, 2)
    again = epoch_of(split, config(dataset, decode_threads=4), 1, 2)
    assert keys_of(once) == keys_of(again)
    assert all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets) for a, b in zip(once, again, strict=True)
    )
    assert keys_of(epoch_of(split, config(dataset), 1, 2, epoch=1)) != keys_of(once)


def test_ranks_take_the_shards_in_turns(dataset: Path) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset)
    seen = {frozenset(keys_of(epoch_of(split, data, 0, 4, epoch=epoch))) for epoch in range(6)}
    assert len({min(keys) for keys in seen}) > 1


def test_rows_are_mixed_across_row_groups(dataset: Path) -> None:
    split = read_split(str(dataset), "train")
    keys = keys_of(epoch_of(split, config(dataset, shuffle_rows=100), 0, 1))
    groups = [int(key.removeprefix("train-")) // 24 for key in keys]
    assert len(set(groups[:24])) >= 3


def test_skipped_batches_are_the_first_ones(dataset: Path) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset)
    whole, rest = epoch_of(split, data, 0, 2), epoch_of(split, data, 0, 2, skip=4)
    assert keys_of(whole[4:]) == keys_of(rest)
    assert torch.equal(whole[-1].images, rest[-1].images)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_evaluation_sees_every_row_once_on_any_number_of_ranks(dataset: Path, size: int) -> None:
    split, data = read_split(str(dataset), "val"), config(dataset)
    batches = [batch for rank in range(size) for batch in evaluation_batches(split, data, rank=rank, size=size)]
    assert sorted(keys_of(batches)) == [f"val-{index:05d}" for index in range(24)]


def test_targets_are_the_confidences_of_the_row(dataset: Path) -> None:
    split = read_split(str(dataset), "val")
    rows = {row["key"]: row for row in ds.dataset(split.folder, format="parquet").to_table().to_pylist()}
    for batch in evaluation_batches(split, config(dataset), rank=0, size=1):
        for key, target in zip(batch.keys, batch.targets, strict=True):
            expected = np.zeros(6, np.float32)
            expected[rows[key]["classes"]] = rows[key]["confidences"]
            assert np.array_equal(target.numpy(), expected)
    assert any(schemas.UNKNOWN in row["confidences"] for row in rows.values())


def test_a_class_outside_the_vocabulary_is_named() -> None:
    row = Row("k1", b"", np.array([2, 6], np.int32), np.ones(2, np.float32))
    with pytest.raises(InputError, match=r"key 'k1' has classes \[2, 6\], the manifest says 6 classes"):
        dense_targets([row], 6)
    assert dense_targets([Row("k2", b"", np.array([], np.int32), np.array([], np.float32))], 6).tolist() == [[0.0] * 6]


def test_a_corrupt_image_is_named_with_its_folder(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=train" / "part-00000.parquet"
    rows = pq.read_table(part).to_pylist()
    rows[3]["image"] = rows[3]["image"][:200]
    pq.write_table(schemas.pa.Table.from_pylist(rows, schemas.DATASET), part, row_group_size=24)
    split = read_split(str(root), "train")
    with pytest.raises(InputError, match=r"image of key 'train-00003' in .*split=train cannot be decoded"):
        epoch_of(split, config(root), 0, 1)


def test_a_pickle_that_appears_after_the_check_is_refused_too(make_dataset: Make) -> None:
    root = make_dataset()
    split = read_split(str(root), "train")
    write_metadata(root / "split=train", {b"dataset-toolkit.unischema.v1": b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(InputError, match=r"holds a pickle"):
        next(training_batches(split, config(root), seed=0, epoch=0, rank=0, size=1))


def test_importing_the_reader_leaves_the_filters_of_warnings_and_the_loggers_alone() -> None:
    program = """
import logging, warnings
import petastorm, torch
known = {str(entry) for entry in warnings.filters}
import ml_images.train.data
assert {str(entry) for entry in warnings.filters} <= known, set(map(str, warnings.filters)) - known
assert logging.getLogger("petastorm.etl.dataset_metadata").level == logging.NOTSET
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_petastorms_plain_reader_reads_the_data_set(dataset: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with petastorm.make_reader(f"file://{dataset}/split=val", num_epochs=1) as reader:
            rows = {str(row.key): row for row in reader}
    expected = ds.dataset(dataset / "split=val", format="parquet").to_table().to_pylist()
    assert {row["key"]: row["image"] for row in expected} == {key: bytes(row.image) for key, row in rows.items()}
    assert {row["key"]: row["classes"] for row in expected} == {key: row.classes.tolist() for key, row in rows.items()}


def test_petastorms_batch_reader_reads_it_with_the_transform_of_the_library(dataset: Path) -> None:
    spec = transform_spec(image_size=40, num_classes=6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with petastorm.make_batch_reader(f"file://{dataset}/split=val", transform_spec=spec, num_epochs=1) as reader:
            batches = list(reader)
    assert {batch.image.shape[1:] for batch in batches} == {(40, 40, 3)}
    assert {batch.image.dtype for batch in batches} == {np.dtype(np.uint8)}
    split = read_split(str(dataset), "val")
    ours = list(evaluation_batches(split, config(dataset, image_size=40), rank=0, size=1))
    images = dict(zip(keys_of(ours), torch.cat([batch.images for batch in ours]), strict=True))
    targets = dict(zip(keys_of(ours), torch.cat([batch.targets for batch in ours]), strict=True))
    for batch in batches:
        for key, image, target in zip(batch.key, batch.image, batch.targets, strict=True):
            assert np.array_equal(image, images[key].permute(1, 2, 0).numpy())
            assert np.array_equal(target, targets[key].numpy())
    assert sum(len(batch.key) for batch in batches) == 24


@pytest.mark.parametrize(
    ("option", "value"), [("batch_size", 0), ("image_size", 16), ("crop_area_min", 0.0), ("decode_threads", 0)]
)
def test_impossible_options_are_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"data.{option} must be .*, got {value}"):
        DataConfig(path="x", **{option: value})
