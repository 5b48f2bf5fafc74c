import hashlib
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.interchange.folders import LISTING
from ml_images.interchange.records import read_records
from ml_images.interchange.sample import Sample, checked_labels
from ml_images.interchange.write import Target, write_shard

ANCESTORS = find_ancestors([[], [0], [0]])
SAMPLES = [
    Sample("a/1", b"A", *checked_labels([0, 1], [1.0, 0.5]), 5, 4),
    Sample("a.2", b"B", *checked_labels([1], [0.0]), 5, 4),
    Sample("3", b"C", *checked_labels([2], [1.0]), 5, 4),
]
GROUPS = [SAMPLES[:1], SAMPLES[1:]]


@pytest.mark.parametrize("format", ["tfrecord", "webdataset", "imagefolder"])
def test_equal_samples_give_equal_bytes_under_a_name_that_follows_from_the_shard(tmp_path: Path, format: str) -> None:
    target = Target(format, "dense", ANCESTORS)
    done = [write_shard(GROUPS, str(tmp_path / run), "val", 7, target) for run in ("a", "b", "a")]
    assert done[0] == done[1] == done[2]
    files = [{f.relative_to(tmp_path / run): f.read_bytes() for f in (tmp_path / run).rglob("*.*")} for run in "ab"]
    assert files[0] == files[1]
    content = (tmp_path / "a" / done[0].file).read_bytes()
    assert (done[0].bytes, done[0].sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (done[0].rows, done[0].labels) == (3, 4)
    assert done[0].labels_lost == (1 if format == "tfrecord" else 0)


def test_records_and_members_are_in_the_order_of_the_rows(tmp_path: Path) -> None:
    done = write_shard(GROUPS, str(tmp_path), "train", 0, Target("tfrecord", "sparse", ANCESTORS))
    assert done.file == "train/000000.tfrecords"
    with (tmp_path / done.file).open("rb") as file:
        keys = [data for _, data in read_records(file, done.bytes, "x")]
    assert [sample.key.encode() in data for sample, data in zip(SAMPLES, keys, strict=True)] == [True] * 3
    done = write_shard(GROUPS, str(tmp_path), "train", 0, Target("webdataset", "sparse", ANCESTORS))
    with tarfile.open(tmp_path / done.file) as tar:
        names = ["a%2F1.jpg", "a%2F1.json", "a%2E2.jpg", "a%2E2.json", "3.jpg", "3.json"]
        assert tar.getnames() == names and done.file == "train/000000.tar"


def test_an_image_folder_has_a_listing_of_all_labels(tmp_path: Path) -> None:
    done = write_shard(GROUPS, str(tmp_path), "train", 3, Target("imagefolder", "sparse", ANCESTORS))
    assert (done.file, done.without_class) == ("labels/train/000003.parquet", 1)
    listed = pq.read_table(tmp_path / done.file).cast(LISTING).to_pylist()
    places = ["train/1/a%2F1.jpg", "without_class/train/a%2E2.jpg", "train/2/3.jpg"]
    assert [(row["file"], row["key"], row["classes"]) for row in listed] == [
        (places[0], "a/1", [0, 1]),
        (places[1], "a.2", [1]),
        (places[2], "3", [2]),
    ]
    assert [(tmp_path / place).read_bytes() for place in places] == [b"A", b"B", b"C"]
    assert {f.name for f in tmp_path.rglob("*.*")} == {Path(place).name for place in places} | {"000003.parquet"}


def test_a_shard_whose_rows_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    def groups():
        yield SAMPLES[:1]
        raise OSError("the disk is gone")

    for format in ("tfrecord", "webdataset", "imagefolder"):
        with pytest.raises(OSError, match="the disk is gone"):
            write_shard(groups(), str(tmp_path), "train", 0, Target(format, "sparse", ANCESTORS))
    assert [f.name for f in tmp_path.rglob("*.*")] == ["a%2F1.jpg"]
