import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.manifest import (
    FilePromise,
    check_file,
    check_metadata,
    read_promises,
    unlisted,
    write_manifest,
)

TABLE = pa.table({"key": pa.array(["a", "b", "c"]), "image": pa.array([b"1", b"22", b"333"])})


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, FilePromise]:
    file = tmp_path / "part.parquet"
    with tables.open_digested_part(str(file), TABLE.schema) as (writer, stream):
        writer.write_table(TABLE, row_group_size=2)
    return file, FilePromise(3, 2, stream.bytes, stream.sha256)


def test_the_digest_of_a_part_is_that_of_its_file(written: tuple[Path, FilePromise]) -> None:
    file, promise = written
    assert promise.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert promise.bytes == file.stat().st_size
    assert check_file(str(file), promise) == "intact"
    assert tables.read_part(str(file)).equals(TABLE)


def test_every_way_in_which_a_file_can_differ_has_its_name(written: tuple[Path, FilePromise]) -> None:
    file, promise = written
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    assert check_file(str(file), promise) == "shorter than written"
    file.write_bytes(content + b"\0")
    assert check_file(str(file), promise) == "longer than written"
    file.write_bytes(content.replace(b"333", b"334"))
    assert check_file(str(file), promise) == "other bytes than written"
    file.write_bytes(bytes(len(content)))
    of_zeros = promise._replace(sha256=hashlib.sha256(bytes(len(content))).hexdigest())
    assert check_file(str(file), of_zeros) == "cannot be read"
    file.write_bytes(content)
    assert check_file(str(file), promise._replace(rows=4)) == "other rows than promised"
    assert check_file(str(file), promise._replace(row_groups=1)) == "other rows than promised"
    file.unlink()
    assert check_file(str(file), promise) == "missing"


def test_a_part_whose_writing_fails_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    with pytest.raises(RuntimeError), tables.open_digested_part(str(file), TABLE.schema) as (writer, _):
        writer.write_table(TABLE)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_an_earlier_version_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no _manifest\.json"):
        read_promises(str(tmp_path))
    for files in (["split=train/part-00000.parquet"], {"a.parquet": {"rows": 1}}):
        (tmp_path / "_manifest.json").write_text(json.dumps({"files": files}))
        with pytest.raises(InputError, match=r"holds no digests of files .* run jobs/materialize\.py again"):
            read_promises(str(tmp_path))


@pytest.mark.parametrize("name", ["part-0.parquet.bak", "part-1.parq", "copy.PARQUET", "more/part.parquet"])
def test_what_other_readers_would_take_is_not_in_the_manifest(tmp_path: Path, name: str) -> None:
    names = ["part-0.parquet", "_common_metadata", ".part.crc", "_old/part.parquet", name]
    for file in (tmp_path / "split=train" / one for one in names):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    promises = {"split=train/part-0.parquet": FilePromise(0, 0, 0, "")}
    assert unlisted(str(tmp_path), promises) == [f"split=train/{name}"]


MANIFEST = {
    "num_classes": 7,
    "lanes": 4,
    "splits": {"train": {"rows": 9, "row_groups": 4}},
    "labels": {"train": 12},
    "replication": {"shares": {3: {"before": 0.1, "after": 1 / 3}, 20: {"before": 0.5, "after": float("nan")}}},
    "files": {"split=train/part-0.parquet": {"rows": 9, "row_groups": 4, "bytes": 1, "sha256": "0"}},
    "metadata": {},
    "config": {"layout": {"ranks": 4}, "ünï": None},
}


@pytest.mark.parametrize("name", ["num_classes", "lanes", "labels", "replication", "config", "more"])
def test_a_manifest_notices_what_was_altered_in_itself(tmp_path: Path, name: str) -> None:
    file = tmp_path / "_manifest.json"
    write_manifest(str(tmp_path), MANIFEST)
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
    told = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(told.items()))))  # the same in another order and spelling
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
    file.write_text(json.dumps(told | {name: 8}))
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "other bytes than written"}


def test_a_manifest_without_its_digest_was_altered(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_text(json.dumps(MANIFEST))
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "other bytes than written"}


def test_a_manifest_is_written_over_with_the_digest_of_its_new_content(tmp_path: Path) -> None:
    write_manifest(str(tmp_path), MANIFEST)
    write_manifest(str(tmp_path), json.loads((tmp_path / "_manifest.json").read_text()) | {"lanes": 8})
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
