"""A data set on S3 trains like its copy on a disk."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_builder import write_metadata

from ml_images.errors import InputError
from ml_images.train.data import DataConfig, evaluation_batches, open_reader, training_batches
from ml_images.train.dataset import Split, digest_of, read_split
from ml_images.train.plan import Stretch, evaluation_stretch
from ml_images.train.reader import Batch
from ml_images.train.replication import copies_of_groups, sure_rows
from ml_images.train.row_groups import ArrowRowGroups


def epoch(split: Split) -> Iterator[Batch]:
    """From the middle of an epoch, for the second of two ranks."""
    data = DataConfig(path=split.location, batch_size=5, image_size=32)
    return training_batches(split, data, Stretch(1, 2, 5, 20, 10), seed=7, epoch=1)


def evaluation(split: Split) -> Iterator[Batch]:
    data = DataConfig(path=split.location, batch_size=5, image_size=32)
    return evaluation_batches(split, data, evaluation_stretch(split.rows, 5, 0, 1))


@pytest.mark.parametrize(("name", "batches"), [("train", epoch), ("val", evaluation)])
def test_every_batch_is_that_of_the_local_copy(
    name: str, batches: Callable[[Split], Iterator[Batch]], dataset: Path, s3: Any
) -> None:
    here, there = read_split(str(dataset), name), read_split(s3.upload(dataset, s3.bucket() + "/set"), name)
    assert (there.files, there.row_groups, there.largest) == (here.files, here.row_groups, here.largest)
    assert digest_of(there) == digest_of(here)
    count = 0
    for local, remote in zip(batches(here), batches(there), strict=True):
        assert local.keys == remote.keys
        assert torch.equal(local.images, remote.images)
        assert all(map(torch.equal, local.targets, remote.targets))
        count += 1
    assert count in (5, 10)


def test_replication_is_that_of_the_local_copy(make_dataset: Any, s3: Any) -> None:
    folder = make_dataset(factors=(0.5, 1.5, 2.25))
    here, there = read_split(str(folder), "train"), read_split(s3.upload(folder, s3.bucket() + "/set"), "train")
    assert sure_rows(there) == sure_rows(here) != here.rows
    for local, remote in zip(copies_of_groups(here, 3, 1), copies_of_groups(there, 3, 1), strict=True):
        assert np.array_equal(local, remote)


def test_a_row_group_costs_few_requests(dataset: Path, s3: Any) -> None:
    split = read_split(s3.upload(dataset, s3.bucket() + "/set"), "train")
    assert {request.split()[0] for request in s3.requests[-9:]} <= {"GET", "HEAD"}
    groups = ArrowRowGroups(split)
    s3.requests.clear()
    assert len(groups.read(3).keys) == split.row_groups[3]
    assert len(s3.requests) <= 4, s3.requests


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("s3+http://127.0.0.1:9/bucket/set", "cannot open .*NETWORK_CONNECTION"),
        ("s3+{address}/no-such-bucket/set", "there is no bucket 'no-such-bucket'"),
        ("{bucket}/set", r"data\.path: '.*' is missing, expected a data set folder"),
        ("s3://key:hush@bucket/set", "not the place for keys"),
    ],
)
def test_what_cannot_be_read_is_one_line_within_seconds(location: str, says: str, s3: Any) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=says) as caught:
        read_split(location.format(address=s3.address, bucket=s3.bucket()), "train")
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)
    assert time.monotonic() - began < 30


def test_a_key_that_is_taken_away_is_one_line_that_names_file_and_row_group(dataset: Path, s3: Any) -> None:
    groups = ArrowRowGroups(read_split(s3.upload(dataset, s3.bucket() + "/set"), "train"))
    s3.denies = lambda request: True
    with pytest.raises(InputError, match=r"split=train/part-00000\.parquet, row group 0 cannot be read: .*DENIED"):
        groups.read(0)


def test_an_unfinished_data_set_and_pickles_are_refused(make_dataset: Any, s3: Any) -> None:
    folder = make_dataset()
    (folder / "_SUCCESS").unlink()
    with pytest.raises(InputError, match="has no _SUCCESS"):
        read_split(s3.upload(folder, s3.bucket() + "/set"), "train")
    (folder / "_SUCCESS").touch()
    write_metadata(folder / "split=train", {b"dataset-toolkit.unischema.v1": b"cos\nsystem\n"}, "_metadata")
    with pytest.raises(InputError, match="holds a pickle"):
        read_split(s3.upload(folder, s3.bucket() + "/set"), "train")


def test_petastorm_reads_local_folders_only(dataset: Path, s3: Any) -> None:
    split = read_split(s3.upload(dataset, s3.bucket() + "/set"), "train")
    with pytest.raises(InputError, match=r"local folders only .*; data\.reader=arrow reads it$") as caught:
        open_reader(split, DataConfig(path=split.location, reader="petastorm"))
    assert "\n" not in str(caught.value)
