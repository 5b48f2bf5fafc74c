import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.interchange.example import decode_example
from ml_images.interchange.layouts import encode_sample
from ml_images.interchange.records import framed, read_records
from ml_images.interchange.sample import Sample, checked_labels
from ml_images.jobs import export, ingest, materialize


def picture(seed: int, size: tuple[int, int] = (40, 50)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def write_records(file: Path, pictures: dict[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = checked_labels([2, 1], [0.5, 1.0])
    samples = [Sample(key, data, *labels, 50, 40) for key, data in pictures.items()]
    file.write_bytes(b"".join(framed(encode_sample(sample, "sparse", 3)) for sample in samples))


def features_of(file: Path) -> list[dict[str, list[Any]]]:
    """Each record as plain values, in the order of the names of its features."""
    with file.open("rb") as opened:
        records = [decode_example(data) for _, data in read_records(opened, file.stat().st_size, file.name)]
    return [{name: list(map(_plain, one[name])) for name in sorted(one)} for one in records]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else int(value)


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in pq.read_table(folder).to_pylist()}


def test_pictures_are_not_trusted(spark: object, tmp_path: Path) -> None:
    pictures = {
        "good": picture(1, (500, 600)),
        "html": b"<html>",
        "cut": picture(2)[:300],
        "none": b"",
        "tiny": picture(3),
    }
    write_records(tmp_path / "a.tfrecords", pictures)
    argv = [f"inputs={tmp_path}/a.tfrecords", "format=tfrecord", f"output={tmp_path}/out", "max_loss=0.9"]
    assert ingest.main([*argv, "extract.image.min_side=64"]) == 0
    rows = rows_of(tmp_path / "out/images")
    assert {key: row["outcome"] for key, row in rows.items()} == {
        "good": "ok",
        "html": "not_an_image",
        "cut": "undecodable",
        "none": "empty",
        "tiny": "too_small",
    }
    good = rows["good"]
    assert (good["width"], good["height"], good["original_width"], good["original_height"]) == (461, 384, 600, 500)
    assert good["detail"] == f"{tmp_path}/a.tfrecords at byte 0" and good["data"] != pictures["good"]
    labels = rows_of(tmp_path / "out/labels")
    assert labels.keys() == rows.keys()
    assert labels["html"] == {
        "key": "html",
        "source": f"{tmp_path}/a.tfrecords",
        "classes": [1, 2],
        "confidences": [1.0, 0.5],
        "origins": [schemas.GIVEN] * 2,
    }
    for table, schema in (("labels", schemas.LABELS), ("images", schemas.IMAGES)):
        for part in (tmp_path / "out" / table).glob("*.parquet"):
            assert pq.read_table(part).cast(schema).num_rows
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["images by outcome"]["ok"] == 1
    assert report["counts"]["labels"] == {"rows": 5, "labels": 10, "keys without labels": 0}
    assert not (tmp_path / "out/vocabulary").exists() and not (tmp_path / "out/splits").exists()
    assert ingest.main([*argv[:-1], "max_loss=0.5", "extract.image.min_side=64"]) == 3


def test_folders_of_anybody_make_their_own_vocabulary(spark: object, tmp_path: Path) -> None:
    for number, name in enumerate(["train/dog/1.jpg", "train/cat/1.jpg", "val/dog/1.jpg", "val/dog/2.jpg"]):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(picture(number))
    argv = [f"inputs={tmp_path}/in", "format=imagefolder", f"output={tmp_path}/out"]
    assert ingest.main(argv) == 0
    labels = rows_of(tmp_path / "out/labels")
    assert {key: row["classes"] for key, row in labels.items()} == {
        "train/cat/1.jpg": [0],
        "train/dog/1.jpg": [1],
        "val/dog/1.jpg": [1],
        "val/dog/2.jpg": [1],
    }
    vocabulary = pq.read_table(tmp_path / "out/vocabulary").cast(schemas.VOCABULARY)
    assert vocabulary["id"].to_pylist() == ["cat", "dog"]
    splits = rows_of(tmp_path / "out/splits")
    assert {key: row["split"] for key, row in splits.items()} == {key: key.split("/")[0] for key in labels}
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["keys by split"] == {"train": 2, "val": 2}

    # Into the same place what has neither splits nor a vocabulary: no table of the former run is left.
    write_records(tmp_path / "a.tfrecords", {"good": picture(1)})
    assert ingest.main([f"inputs={tmp_path}/a.tfrecords", "format=tfrecord", f"output={tmp_path}/out"]) == 0
    assert rows_of(tmp_path / "out/labels").keys() == {"good"}
    assert not list((tmp_path / "out/vocabulary").glob("[!_]*")) and not list((tmp_path / "out/splits").glob("[!_]*"))


def test_damage_and_repeated_keys_end_the_job_in_one_line(spark: object, tmp_path: Path) -> None:
    write_records(tmp_path / "in/a.tfrecords", {"one": picture(1), "two": picture(2)})
    write_records(tmp_path / "in/b.tfrecords", {"three": picture(3), "one": picture(4)})
    argv = [f"inputs={tmp_path}/in", "format=tfrecord", f"output={tmp_path}/out"]
    with pytest.raises(
        InputError, match=r"key 'one' occurs 2 times \(.*a.tfrecords at byte 0; .*b.tfrecords at byte \d+"
    ):
        ingest.main(argv)
    content = bytearray((tmp_path / "in/b.tfrecords").read_bytes())
    content[-5] ^= 1
    (tmp_path / "in/b.tfrecords").write_bytes(content)
    start = len(content) // 2 - 200
    with pytest.raises(InputError, match=r"^'.*b.tfrecords' at byte (\d+): the data .* \(damaged\)$") as caught:
        ingest.main(argv)
    assert "\n" not in str(caught.value) and int(str(caught.value).split(" at byte ")[1].split(":")[0]) > start
    assert not list((tmp_path / "out/labels").glob("*.parquet"))
    (tmp_path / "in/b.tfrecords").unlink()
    assert ingest.main(argv) == 0
    assert rows_of(tmp_path / "out/labels").keys() == rows_of(tmp_path / "out/images").keys() == {"one", "two"}


@pytest.mark.real_data
def test_the_two_files_of_ml_images(spark: object, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ml-images"
    vocabulary = folder / "dictionary_and_semantic_hierarchy.txt"
    argv = [f"inputs={folder}/tfrecords/*.tfrecords", "format=tfrecord", f"vocabulary={vocabulary}"]
    assert ingest.main([*argv, f"output={tmp_path}/out", "extract.image.short_side=original"]) == 0
    images, labels = rows_of(tmp_path / "out/images"), rows_of(tmp_path / "out/labels")
    assert sorted(images) == sorted(labels) == [f"im_{i}.jpeg" for i in range(4)]
    assert {row["outcome"] for row in images.values()} <= {"ok", "placeholder"}
    assert labels["im_2.jpeg"]["classes"] == [3, 5193, 5851, 9413, 9416]
    assert len(pq.read_table(tmp_path / "out/vocabulary")) == 11_166

    # A data set of them, exported in their own layout, holds what they hold.
    tables = [f"annotations={tmp_path}/out", f"images={tmp_path}/out/images", "splits.val=0", "layout.ranks=1"]
    assert materialize.main([*tables, f"output={tmp_path}/made"]) == 0
    argv = [f"dataset={tmp_path}/made/dataset", "format=tfrecord", "shards.layout=dense"]
    assert export.main([*argv, f"output={tmp_path}/exported"]) == 0
    theirs = [features for name in ("0", "1") for features in features_of(folder / f"tfrecords/{name}.tfrecords")]
    (ours,) = (tmp_path / "exported/train").iterdir()
    assert sorted(features_of(ours), key=str) == sorted(theirs, key=str)
