"""Both readers over data sets on disk: which rows come, in which order, and what is told where they cannot."""

import functools
import itertools
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import petastorm
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from dataset_builder import write_dataset, write_metadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.train.data import (
    DataConfig,
    TrainingReader,
    evaluation_batches,
    open_reader,
    training_batches,
    training_pictures,
)
from ml_images.train.dataset import Split, digest_of, read_split
from ml_images.train.group_size import GroupSize
from ml_images.train.petastorm import transform_spec
from ml_images.train.plan import Stretch, evaluation_stretch
from ml_images.train.reader import Batch
from ml_images.train.replication import sure_rows
from ml_images.train.resolution import ResolutionConfig
from ml_images.train.transforms import normalise

Make = Callable[..., Path]
READERS = ["arrow", "petastorm"]


def config(root: Path | str, **options: Any) -> DataConfig:
    return DataConfig(path=str(root), **{"batch_size": 5, "image_size": 32, **options})


def kept(batch: Batch) -> Batch:
    """`images` is lent."""
    return batch._replace(images=batch.images.clone())


def epoch_of(split: Split, data: DataConfig, rank: int, size: int, *, epoch: int = 0, place: int = 0) -> list[Batch]:
    steps = (split.rows - place) // (data.batch_size * size)
    stretch = Stretch(rank, size, data.batch_size, place, steps)
    return [kept(batch) for batch in training_batches(split, data, stretch, seed=7, epoch=epoch)]


def evaluated(split: Split, data: DataConfig, size: int) -> list[list[Batch]]:
    return [
        [
            kept(batch)
            for batch in evaluation_batches(split, data, evaluation_stretch(split.rows, data.batch_size, rank, size))
        ]
        for rank in range(size)
    ]


def keys_of(batches: list[Batch]) -> list[str]:
    return [key for batch in batches for key in batch.keys if key]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [1, 3, 8, 13])
def test_every_row_comes_once_an_epoch_but_for_the_declared_remainder(
    make_dataset: Make, size: int, reader: str
) -> None:
    root = make_dataset(train=(24, 23, 24, 24, 24, 24, 25, 24, 24), val=(2,), lanes=3)
    split, data = read_split(str(root), "train"), config(root, reader=reader)
    ranks = [epoch_of(split, data, rank, size) for rank in range(size)]
    assert {len(batches) for batches in ranks} == {216 // (5 * size)}
    keys = [key for batches in ranks for key in keys_of(batches)]
    assert len(set(keys)) == len(keys) == 216 // (5 * size) * 5 * size


def test_both_readers_give_the_same_rows_pixels_and_targets(dataset: Path) -> None:
    split = read_split(str(dataset), "train")
    arrow, petastorms = (epoch_of(split, config(dataset, reader=reader), 1, 3) for reader in READERS)
    assert len(arrow) == 192 // 15
    for one, other in zip(arrow, petastorms, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a, b) for a, b in zip(one.targets, other.targets, strict=True))


@pytest.mark.parametrize("size", [2, 4, 8])
def test_a_step_of_all_ranks_is_the_same_rows_and_pixels_on_any_number_of_them(make_dataset: Make, size: int) -> None:
    root = make_dataset(train=(24,) * 8, lanes=4)
    split = read_split(str(root), "train")
    alone = epoch_of(split, config(root, batch_size=16), 0, 1)
    ranks = [epoch_of(split, config(root, batch_size=16 // size), rank, size) for rank in range(size)]
    for step, whole in enumerate(alone):
        together = {
            key: image for batches in ranks for key, image in zip(batches[step].keys, batches[step].images, strict=True)
        }
        assert set(together) == set(whole.keys)
        assert all(torch.equal(together[key], image) for key, image in zip(whole.keys, whole.images, strict=True))


def test_order_and_pixels_depend_on_seed_and_epoch_and_not_on_threads(dataset: Path) -> None:
    split = read_split(str(dataset), "train")
    once = epoch_of(split, config(dataset, decode_threads=1), 1, 2)
    again = epoch_of(split, config(dataset, decode_threads=5), 1, 2)
    assert keys_of(once) == keys_of(again)
    assert all(torch.equal(a.images, b.images) for a, b in zip(once, again, strict=True))
    assert keys_of(epoch_of(split, config(dataset), 1, 2, epoch=1)) != keys_of(once)


def test_rows_are_mixed_across_row_groups(make_dataset: Make) -> None:
    root = make_dataset(train=(24,) * 8, lanes=4)
    keys = keys_of(epoch_of(read_split(str(root), "train"), config(root), 0, 1))
    groups = [int(key.removeprefix("train-")) // 24 for key in keys]
    assert len(set(groups[:24])) == 4


@pytest.mark.parametrize("reader", READERS)
def test_a_run_goes_on_in_the_middle_of_an_epoch_with_the_rows_that_are_left_on_other_ranks(
    dataset: Path, reader: str
) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset, batch_size=8, reader=reader)
    before = keys_of([batch for rank in range(3) for batch in epoch_of(split, data, rank, 3)[:4]])
    for size in (1, 2, 4):
        after = keys_of([batch for rank in range(size) for batch in epoch_of(split, data, rank, size, place=96)])
        assert sorted(before + after) == [f"train-{index:05d}" for index in range(192)]


def test_a_run_that_goes_on_gets_the_very_batches_of_one_that_never_stopped(dataset: Path) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset)
    whole, rest = epoch_of(split, data, 0, 2), epoch_of(split, data, 0, 2, place=40)
    assert keys_of(whole[4:]) == keys_of(rest)
    assert torch.equal(whole[-1].images, rest[-1].images)


def test_what_was_consumed_is_not_read_again(make_dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_dataset(train=(24,) * 8, lanes=2)
    split, read = read_split(str(root), "train"), []
    groups = open_reader(split, config(root)).groups
    real = type(groups).read
    monkeypatch.setattr(type(groups), "read", lambda self, group: read.append(group) or real(self, group))
    epoch_of(split, config(root, batch_size=24), 0, 1, place=144)
    assert len(read) == 2


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """97 rows in row groups that no number of ranks divides."""
    return write_dataset(tmp_path_factory.mktemp("data") / "uneven", train=(24, 1, 23, 24, 25), val=(2,), lanes=3)


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows that come 120 times."""
    root = tmp_path_factory.mktemp("data") / "replicated"
    return write_dataset(root, train=(20, 20, 20), val=(2,), lanes=3, factors=[1.0, 2.0, 3.0])


def opened(root: Path, reader: str = "arrow", *, seed: int = 7, **options: Any) -> TrainingReader:
    split, told = inputs_of(root)
    data = config(root, reader=reader, batch_size=options.pop("batch_size", 5))
    return TrainingReader(split, data, seed=seed, **told, **options)


@functools.cache
def inputs_of(root: Path) -> tuple[Split, dict[str, Any]]:
    split = read_split(str(root), "train")
    return split, {"data_set": digest_of(split), "rows": sure_rows(split)}


SIZES, BATCH_SIZES = st.sampled_from([1, 2, 3, 8, 13, 32]), st.integers(1, 7)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["uneven", "replicated"])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_states_taken_anywhere_lead_on_to_exactly_the_rows_that_are_left(
    request: pytest.FixtureRequest, reader: str, name: str, data: st.DataObject
) -> None:
    """A run of many parts, each with ranks, batch size and reader of its own, that knows of the others what JSON
    keeps of a state."""
    root = request.getfixturevalue(name)
    one = opened(root, epoch=2, batch_size=1)
    expected = sorted(keys_of(list(one.batches())))
    assert one.place == len(expected)
    shown, state = [], opened(root, epoch=2).state_dict()
    for _ in range(3):
        size, batch_size = data.draw(SIZES), data.draw(BATCH_SIZES)
        left = (len(expected) - state["place"]) // (size * batch_size)
        steps, states = data.draw(st.integers(0, left)), set()
        for rank in range(size):
            reading = opened(root, reader, rank=rank, size=size, batch_size=batch_size)
            reading.load_state_dict(state)
            shown += keys_of(list(itertools.islice(reading.batches(), steps)))
            states.add(json.dumps(reading.state_dict()))
        (told,) = states
        state = json.loads(told)
    rest = opened(root, reader, batch_size=1)
    rest.load_state_dict(state)
    shown += keys_of(list(rest.batches()))
    assert sorted(shown) == expected


@pytest.mark.parametrize("other", READERS)
def test_a_state_of_one_reader_is_one_of_the_other(dataset: Path, other: str) -> None:
    whole = [kept(batch) for batch in opened(dataset).batches()]
    began = opened(dataset)
    for _ in itertools.islice(began.batches(), 3):
        pass
    reading = opened(dataset, other)
    reading.load_state_dict(began.state_dict())
    rest = [kept(batch) for batch in reading.batches()]
    assert [batch.keys for batch in rest] == [batch.keys for batch in whole[3:]]
    assert torch.equal(rest[-1].images, whole[-1].images)


def test_epochs_follow_each_other_each_with_an_order_of_its_own(dataset: Path) -> None:
    reading, epochs = opened(dataset, batch_size=6), []
    for _ in range(3):
        epochs.append(keys_of(list(reading.batches())))
        reading.next_epoch()
    assert reading.state_dict() == opened(dataset, epoch=3).state_dict()
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2]) and len(epochs[0]) == 192


@pytest.mark.parametrize("augmentation", ["standard", "shift"])
def test_some_training_pictures_are_those_of_the_first_steps(dataset: Path, augmentation: str) -> None:
    split, data = read_split(str(dataset), "train"), config(dataset, augmentation=augmentation)
    seen = torch.cat([batch.images for batch in epoch_of(split, data, 0, 1)])
    found = training_pictures(split, data, 12, seed=7)
    assert torch.equal(found, normalise(seen[:15], data.augmentation))
    assert len(training_pictures(split, data, 5_000, seed=7)) == split.rows == 192


def test_pictures_are_as_large_as_the_epoch_wants_them(dataset: Path) -> None:
    reading = opened(dataset, resolution=ResolutionConfig([40, 32], [0, 1]))
    assert next(reading.batches()).images.shape == (5, 3, 40, 40)
    reading.next_epoch()
    assert next(reading.batches()).images.shape == (5, 3, 32, 32)


def test_a_state_of_another_order_is_refused_in_the_middle_of_an_epoch_only(dataset: Path, uneven: Path) -> None:
    for other, name in ((opened(dataset, seed=8), "seed=7, this run has seed=8"), (opened(uneven), "data_set=")):
        reading = opened(dataset)
        other.load_state_dict(reading.state_dict())
        next(reading.batches())
        with pytest.raises(InputError, match=f"in the middle of an epoch with {name}"):
            other.load_state_dict(reading.state_dict())
        assert other.place == 0
        reading.next_epoch()
        other.load_state_dict(reading.state_dict())
        assert (other.epoch, other.place) == (1, 0)


@pytest.mark.parametrize(
    ("state", "line"), [({}, "this has nothing"), ({"epoch": 1, "place": 2}, "this has epoch, place")]
)
def test_what_is_no_state_is_told(dataset: Path, state: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=f"the state of a reader has epoch, place, seed, data_set, {line}"):
        opened(dataset).load_state_dict(state)


@pytest.mark.parametrize(
    "wrong", [{"epoch": -1}, {"epoch": "1"}, {"epoch": True}, {"place": -5}, {"place": 193}, {"place": 2.0}]
)
def test_a_state_that_is_nowhere_in_an_epoch_is_refused(dataset: Path, wrong: dict[str, Any]) -> None:
    reading = opened(dataset)
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"^the state of a reader has {name}={value!r}, expected a whole number "):
        reading.load_state_dict(reading.state_dict() | wrong)
    assert (reading.epoch, reading.place) == (0, 0)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_an_evaluation_sees_every_row_once_in_as_many_steps_on_every_rank(
    dataset: Path, size: int, reader: str
) -> None:
    split, data = read_split(str(dataset), "val"), config(dataset, reader=reader)
    ranks = evaluated(split, data, size)
    assert {len(batches) for batches in ranks} == {-(-24 // (5 * size))}
    assert sorted(key for batches in ranks for key in keys_of(batches)) == [f"val-{index:05d}" for index in range(24)]
    batches = [batch for batches in ranks for batch in batches]
    assert sum(int(batch.mask.sum()) for batch in batches) == 24
    assert all((batch.images[~batch.mask] == 0).all() for batch in batches)


def test_targets_are_the_confidences_of_the_row(dataset: Path) -> None:
    split = read_split(str(dataset), "val")
    rows = {row["key"]: row for row in ds.dataset(split.location, format="parquet").to_table().to_pylist()}
    for batch in evaluated(split, config(dataset), 1)[0]:
        dense = batch.targets.dense(6, batch.mask, torch.device("cpu"))
        for key, target in zip(batch.keys, dense, strict=True):
            expected = np.full(6, schemas.UNKNOWN, np.float32)  # of padding
            if key:
                expected[:] = 0
                expected[rows[key]["classes"]] = rows[key]["confidences"]
            assert np.array_equal(target.numpy(), expected)
    assert any(schemas.UNKNOWN in row["confidences"] for row in rows.values())


def test_rows_come_as_often_as_their_replication_says(make_dataset: Make) -> None:
    root = make_dataset(train=(24,) * 4, lanes=2, factors=[1.0, 2.0, 3.0])
    split, data = read_split(str(root), "train"), config(root, batch_size=24)
    stretches = [Stretch(rank, 2, 24, 0, 4) for rank in range(2)]
    found = [batch for stretch in stretches for batch in training_batches(split, data, stretch, seed=1, epoch=0)]
    counts = {key: keys_of(found).count(key) for key in keys_of(found)}
    assert [counts[f"train-{index:05d}"] for index in range(96)] == [1, 2, 3] * 32


def broken(root: Path, number: int, image: bytes | None = None, **values: object) -> None:
    """Changes row `number` of the first file."""
    part = root / "split=train" / "part-00000.parquet"
    rows = pq.read_table(part).to_pylist()
    rows[number] |= {"image": rows[number]["image"][:200] if image is None else image, **values}
    pq.write_table(schemas.pa.Table.from_pylist(rows, schemas.DATASET), part, row_group_size=24)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pictures_stored_as_they_are_come_from_pages_of_both_versions(make_dataset: Make, version: str) -> None:
    root = make_dataset()
    before = epoch_of(read_split(str(root), "train"), config(root), 0, 1)
    plainly = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    for part in (root / "split=train").glob("*.parquet"):
        rows = pq.read_table(part)
        with pq.ParquetWriter(part, schemas.DATASET, data_page_version=version, **plainly) as writer:
            writer.write_table(rows, row_group_size=24)
    after = epoch_of(read_split(str(root), "train"), config(root), 0, 1)
    assert keys_of(after) == keys_of(before) and len(keys_of(after)) == 95
    assert all(torch.equal(one.images, other.images) for one, other in zip(after, before, strict=True))


@pytest.mark.parametrize("reader", READERS)
def test_a_broken_picture_is_named_with_its_file_row_and_key(make_dataset: Make, reader: str) -> None:
    root = make_dataset()
    broken(root, 27)
    told = r"image of key 'train-00027' \(.*split=train/part-00000.parquet, row group 1, row 3\) cannot be decoded"
    with pytest.raises(InputError, match=told):
        epoch_of(read_split(str(root), "train"), config(root, reader=reader), 0, 1)


def test_a_broken_picture_can_be_left_out_and_is_counted(make_dataset: Make, caplog: pytest.LogCaptureFixture) -> None:
    root = make_dataset()
    broken(root, 3)
    broken(root, 30, b"no picture")
    split = read_split(str(root), "train")
    stretch = Stretch(0, 1, 12, 0, 8)
    data = config(root, batch_size=12, bad_images="skip")
    batches = [kept(batch) for batch in training_batches(split, data, stretch, seed=0, epoch=0)]
    assert len(batches) == 8 and sum(batch.skipped for batch in batches) == 2
    assert len(set(keys_of(batches))) == 94 == sum(int(batch.mask.sum()) for batch in batches)
    assert "key 'train-00003'" in caplog.text and "key 'train-00030'" in caplog.text


def test_a_class_outside_the_vocabulary_is_named(make_dataset: Make) -> None:
    root = make_dataset()
    whole = pq.read_table(root / "split=train" / "part-00000.parquet")["image"][0].as_py()
    broken(root, 3, whole, classes=[2, 6], confidences=[1.0, 1.0])
    with pytest.raises(InputError, match=r"key 'train-00003' .* has classes \[2, 6\], the manifest says 6 classes"):
        epoch_of(read_split(str(root), "train"), config(root), 0, 1)


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_named(make_dataset: Make, reader: str) -> None:
    root = make_dataset()
    split = read_split(str(root), "train")
    part = root / "split=train" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[: -part.stat().st_size // 2])
    with pytest.raises(InputError, match=r"part-00000.parquet, row group \d cannot be read"):
        epoch_of(split, config(root, reader=reader), 0, 1)


def test_a_pickle_that_appears_after_the_check_is_refused_too(make_dataset: Make) -> None:
    root = make_dataset()
    split = read_split(str(root), "train")
    write_metadata(root / "split=train", {b"dataset-toolkit.unischema.v1": b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(InputError, match=r"holds a pickle"):
        epoch_of(split, config(root, reader="petastorm"), 0, 1)


def test_what_petastorm_cannot_read_is_named() -> None:
    split = Split("s3://bucket/set/split=train", 6, 1, ("a",), (1,), (5,), GroupSize())
    with pytest.raises(InputError, match="local folders only"):
        open_reader(split, config("x", reader="petastorm"))


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_may_be_called_anything(dataset: Path, tmp_path: Path, reader: str) -> None:
    odd = tmp_path / "what?#;=%20 é"
    shutil.copytree(dataset, odd)
    expected = [batch.keys for batch in epoch_of(read_split(str(dataset), "train"), config(dataset), 0, 1)]
    assert [
        batch.keys for batch in epoch_of(read_split(str(odd), "train"), config(odd, reader=reader), 0, 1)
    ] == expected


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


def test_petastorm_gets_pandas_only_where_it_uses_it(dataset: Path) -> None:
    program = f"""
import sys
from ml_images.train.dataset import read_split
from ml_images.train.petastorm import PetastormRowGroups, transform_spec
assert len(PetastormRowGroups(read_split({str(dataset)!r}, "train")).read(0).images) > 0
assert "pandas" not in sys.modules
import petastorm
with petastorm.make_batch_reader({f"file://{dataset}/split=val"!r}, transform_spec=transform_spec(40, 6)) as reader:
    assert next(reader).image.shape[1:] == (40, 40, 3)
import pandas
assert petastorm.arrow_reader_worker.pd.Series is pandas.Series
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)


def test_petastorm_says_nothing_of_unfinished_data_sets(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert len(keys_of(epoch_of(read_split(str(dataset), "train"), config(dataset, reader="petastorm"), 0, 1))) > 50
    assert "materialization" not in caplog.text


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
    ours = evaluated(read_split(str(dataset), "val"), config(dataset, image_size=40), 1)[0]
    images = {key: image for batch in ours for key, image in zip(batch.keys, batch.images, strict=True)}
    targets = {
        key: target
        for batch in ours
        for key, target in zip(batch.keys, batch.targets.dense(6, batch.mask, torch.device("cpu")), strict=True)
    }
    for batch in batches:
        for key, image, target in zip(batch.key, batch.image, batch.targets, strict=True):
            assert np.array_equal(image, images[key].permute(1, 2, 0).numpy())
            assert np.array_equal(target, targets[key].numpy())
    assert sum(len(batch.key) for batch in batches) == 24


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch_size", 0), ("image_size", 16), ("crop_area_min", 0.0), ("decode_threads", 0), ("colour", 1.5)],
)
def test_impossible_options_are_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"data.{option} must be .*, got {value}"):
        DataConfig(path="x", **{option: value})
