from pathlib import Path
from typing import Any

import pytest

from ml_images.errors import InputError
from ml_images.interchange.inputs import find_inputs, find_vocabulary, refuse_inside
from ml_images.storage import tables
from ml_images.storage.paths import join


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_files_of_the_format_below_a_folder_with_their_splits(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b.tfrecords",
        "train/1.tfrecord",
        "train/0.tfrecords",
        "val/x/0.tfrec",
        "val/0.tar",
        "_staging/9.tfrecords",
    )
    make(tmp_path, "web/test/0.tar.gz", "web/test/1.zip", "web/test/.2.tar")
    found = find_inputs([str(tmp_path)], "tfrecord")
    assert [(one.kind, one.source.removeprefix(f"{tmp_path}/"), one.split) for one in found] == [
        ("tfrecord", "b.tfrecords", ""),
        ("tfrecord", "train/0.tfrecords", "train"),
        ("tfrecord", "train/1.tfrecord", "train"),
        ("tfrecord", "val/x/0.tfrec", ""),
    ]
    found = find_inputs([str(tmp_path / "[vw]*")], "webdataset")
    assert [one.source.removeprefix(f"{tmp_path}/") for one in found] == ["val/0.tar", "web/test/0.tar.gz"]
    assert [one.split for one in found] == ["val", "test"]


def test_a_file_is_read_once_and_a_named_record_file_may_end_as_it_likes(tmp_path: Path) -> None:
    make(tmp_path, "train/a-00001-of-00002")
    name = str(tmp_path / "train/a-00001-of-00002")
    (one,) = find_inputs([name, str(tmp_path / "train/a*")], "tfrecord")
    assert (one.source, one.location, one.split) == (name, name, "train")


def test_patterns_name_files_and_folders_on_s3_as_they_do_on_disk(s3: Any, tmp_path: Path) -> None:
    bucket = s3.bucket()
    names = ("a/train/0.tar", "a/train/x/1.tar", "a/trash.tar", "a/val/0.tar", "b/dog/1.jpg", "b/cat/1.jpg")
    make(tmp_path, *names)
    for name in names:
        tables.write_text(join(bucket, name), "x")
    for format, pattern, sources in (
        ("webdataset", "*/tr*", ["a/train/0.tar", "a/train/x/1.tar", "a/trash.tar"]),
        ("webdataset", "a/*/0.tar", ["a/train/0.tar", "a/val/0.tar"]),
        ("webdataset", "a/*/[01]*", ["a/train/0.tar", "a/val/0.tar"]),  # below a/trash.tar is nothing
        ("imagefolder", "[b]", ["b/cat", "b/dog"]),
    ):
        told = [
            [
                (one.kind, one.source.removeprefix(f"{root}/"), one.split)
                for one in find_inputs([f"{root}/{pattern}"], format)
            ]
            for root in (bucket, str(tmp_path))
        ]
        assert told[0] == told[1]
        assert [source for _, source, _ in told[0]] == sources
    with pytest.raises(InputError, match=r"^input 's3.*/\*.tar' matches no file$"):
        find_inputs([f"{bucket}/*.tar"], "webdataset")


def test_image_folders_with_and_without_splits(tmp_path: Path) -> None:
    make(tmp_path, "a/train/dog/1.jpg", "a/train/cat/1.jpg", "a/val/dog/2.jpg", "b/dog/1.jpg", "b/list.csv")
    found = find_inputs([str(tmp_path / "a")], "imagefolder")
    assert [(one.kind, one.split, one.folder) for one in found] == [
        ("folder", "train", "cat"),
        ("folder", "train", "dog"),
        ("folder", "val", "dog"),
    ]
    assert [one.folder for one in find_inputs([str(tmp_path / "b")], "imagefolder")] == ["dog"]
    make(tmp_path, "a/other/dog/1.jpg")
    with pytest.raises(InputError, match="has the splits train, val and 'other'"):
        find_inputs([str(tmp_path / "a")], "imagefolder")


@pytest.mark.parametrize(("root", "output"), [("a", "a"), ("a", "a/out"), ("a", "a/train/out"), ("b", "b/out/x")])
def test_an_output_among_the_folders_of_classes_is_refused(tmp_path: Path, root: str, output: str) -> None:
    make(tmp_path, "a/train/dog/1.jpg", "b/dog/1.jpg")
    found = find_inputs([str(tmp_path / root)], "imagefolder")
    with pytest.raises(InputError, match=rf"output '.*/{output}' lies in the ImageFolder '.*/{root}': choose a folder"):
        refuse_inside(str(tmp_path / output), found)
    refuse_inside(str(tmp_path / f"{root}-out"), found)
    refuse_inside(str(tmp_path), found)


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    make(tmp_path, "one/train/1.jpg", "one/tram/1.jpg", "two/train/train/1.jpg", "two/val/tram/1.jpg")
    found = {name: find_inputs([str(tmp_path / name)], "imagefolder") for name in ("one", "two")}
    assert [(one.split, one.folder) for one in found["one"]] == [("", "train"), ("", "tram")]
    assert [(one.split, one.folder) for one in found["two"]] == [("train", "train"), ("val", "tram")]


def test_listings_say_what_is_in_an_image_folder(tmp_path: Path) -> None:
    make(tmp_path, "train/0/1.jpg", "labels/train/000000.parquet", "labels/val/000000.parquet", "vocabulary.parquet")
    found = find_inputs([str(tmp_path)], "imagefolder")
    assert [(one.kind, one.split) for one in found] == [("listing", "train"), ("listing", "val")]
    assert find_vocabulary([str(tmp_path / "train"), str(tmp_path)]) == str(tmp_path / "vocabulary.parquet")
    assert find_vocabulary([str(tmp_path / "train")]) is None


def test_wrong_inputs_are_one_line(tmp_path: Path) -> None:
    make(tmp_path, "x.zip", "empty/readme")
    for patterns, format, told in (
        ([f"{tmp_path}/none"], "tfrecord", "does not exist"),
        ([f"{tmp_path}/*.tfrecords"], "tfrecord", "matches no file"),
        ([f"{tmp_path}/empty"], "tfrecord", "no files that end with .tfrecord"),
        ([f"{tmp_path}/x.zip"], "webdataset", "accepted: files that end with .tar"),
        ([f"{tmp_path}/x.zip"], "imagefolder", "is a file"),
        ([f"{tmp_path}/empty"], "imagefolder", "no folders of classes"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            find_inputs(patterns, format)
        assert "\n" not in str(caught.value)


def test_an_export_that_was_not_finished_is_refused(tmp_path: Path) -> None:
    tables.claim(str(tmp_path / "out"), "export")
    make(tmp_path, "out/train/0.tar")
    with pytest.raises(InputError, match="is not finished"):
        find_inputs([str(tmp_path / "out")], "webdataset")
    tables.mark_done(str(tmp_path / "out"))
    assert len(find_inputs([str(tmp_path / "out")], "webdataset")) == 1
