import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.interchange.folders import LISTING
from ml_images.interchange.inputs import find_inputs
from ml_images.interchange.layouts import encode_sample
from ml_images.interchange.read import read_input
from ml_images.interchange.records import framed
from ml_images.interchange.sample import Found, Sample, checked_labels
from ml_images.interchange.tar_writer import TarWriter
from ml_images.interchange.webdataset import write_sample

LABELS = checked_labels([1, 3], [0.5, 1.0])
SAMPLES = [Sample(f"k{i}", bytes([i]) * 10 * i, *LABELS, 5, 4) for i in range(3)]
CLASSES = {"cat": 0, "dog": 1}


def read(path: Path, format: str, max_bytes: int = 100, num_classes: int | None = None) -> list[Found]:
    inputs = find_inputs([str(path)], format)
    return [found for one in inputs for found in read_input(one, CLASSES, num_classes, max_bytes, 100)]


def outcomes(found: list[Found]) -> list[tuple[str, str, bytes | None]]:
    return [(one.member.key, one.member.outcome, one.member.data) for one in found]


EXPECTED = [("k0", "ok", b""), ("k1", "ok", b"\1" * 10), ("k2", "too_large", None)]


def test_records(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecords"
    file.write_bytes(b"".join(framed(encode_sample(one, "dense", 5)) for one in SAMPLES))
    found = read(file, "tfrecord", max_bytes=15, num_classes=5)
    assert outcomes(found) == EXPECTED
    assert all(one.labels is not None and one.labels[0].tolist() == [1, 3] for one in found)
    assert found[1].member.member == f"{file} at byte {len(framed(encode_sample(SAMPLES[0], 'dense', 5)))}"
    with pytest.raises(InputError, match=rf"^'{file}' at byte 0: a dense label of 5 classes, the vocabulary has 4$"):
        read(file, "tfrecord", num_classes=4)
    (tmp_path / "empty.tfrecords").touch()
    assert read(tmp_path / "empty.tfrecords", "tfrecord") == []


@pytest.mark.parametrize("packed", [False, True])
def test_tars(tmp_path: Path, packed: bool) -> None:
    file = tmp_path / ("a.tar.gz" if packed else "a.tar")
    with gzip.open(file, "wb") if packed else file.open("wb") as stream:
        tar = TarWriter(stream)
        for one in SAMPLES:
            write_sample(tar, one)
        tar.finish()
    assert outcomes(read(file, "webdataset", max_bytes=15)) == EXPECTED


def test_folders_of_classes(tmp_path: Path) -> None:
    for name, data in {"cat/1.JPEG": b"c", "dog/more/2.png": b"d", "dog/3.jpg": b"x" * 16, "dog/list.txt": b""}.items():
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(data)
    (tmp_path / "train/dog/4.jpg").symlink_to("/etc/passwd")
    (tmp_path / "train/dog" / os.fsdecode(b"\xf6.jpg")).write_bytes(b"o")
    found = read(tmp_path, "imagefolder", max_bytes=15)
    assert outcomes(found) == [
        ("train/cat/1.JPEG", "ok", b"c"),
        ("train/dog/3.jpg", "too_large", None),
        ("train/dog/4.jpg", "unsafe_member", None),
        ("train/dog/more/2.png", "ok", b"d"),
        (r"train/dog/\xf6.jpg", "ok", b"o"),
    ]
    assert [one.labels[0].tolist() for one in found if one.labels] == [[0], [1], [1], [1], [1]]


def test_listings(tmp_path: Path) -> None:
    (tmp_path / "train/1").mkdir(parents=True)
    (tmp_path / "train/1/a.jpg").write_bytes(b"a")
    (tmp_path / "train/1/l.jpg").symlink_to("/etc/passwd")
    (tmp_path.parent / "outside.jpg").write_bytes(b"secret")
    files = ["train/1/a.jpg", "train/1/gone.jpg", "train/1/l.jpg", "../outside.jpg", "train/1"]
    size = {"width": 1, "height": 1, "classes": [1], "confidences": [0.5]}
    listed = [{"file": file, "key": f"k{i}", **size} for i, file in enumerate(files)]
    rows = pa.Table.from_pylist(listed, schema=LISTING)
    (tmp_path / "labels/train").mkdir(parents=True)
    listing = tmp_path / "labels/train/000000.parquet"
    pq.write_table(rows, listing)
    found = read(tmp_path, "imagefolder")
    assert outcomes(found) == [
        ("k0", "ok", b"a"),
        ("k1", "not_in_archive", None),
        ("k2", "unsafe_member", None),
        ("k3", "unsafe_member", None),
        ("k4", "unsafe_member", None),
    ]
    with pytest.raises(InputError, match=r"file 'train/1/a.jpg': class 1, the vocabulary has 1"):
        read(tmp_path, "imagefolder", num_classes=1)
    pq.write_table(rows.drop_columns(["key"]), listing)
    with pytest.raises(InputError, match=r"is no listing of jobs/export.py") as caught:
        read(tmp_path, "imagefolder")
    assert "\n" not in str(caught.value)
