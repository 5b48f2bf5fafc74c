import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.manifest import (
    FilePromise,
    check_file,
    check_metadata,
    read_manifest,
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


def test_what_is_missing_of_a_manifest_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no _manifest\.json"):
        read_promises(str(tmp_path))
    (tmp_path / "_manifest.json").write_text(json.dumps({"num_classes": 1, "splits": {}}))
    assert read_manifest(str(tmp_path)) == {"num_classes": 1, "splits": {}}
    with pytest.raises(InputError, match=r"_manifest\.json lacks files: .* run jobs/materialize\.py again"):
        read_promises(str(tmp_path))


@pytest.mark.parametrize("name", ["part-0.parquet.bak", "part-1.parq", "copy.PARQUET", "more/part.parquet"])
def test_what_other_readers_would_take_is_not_in_the_manifest(tmp_path: Path, name: str) -> None:
    names = ["part-0.parquet", "_common_metadata", ".part.crc", "_old/part.parquet", name]
    for file in (tmp_path / "split=train" / one for one in names):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    listed = {f"split=train/{one}" for one in ("part-0.parquet", "_common_metadata")}
    assert unlisted(str(tmp_path), listed) == [f"split=train/{name}"]


@pytest.mark.parametrize("name", ["_metadata", "split=train/_metadata", "_old/_common_metadata", ".x_metadata", "fifo"])
def test_what_may_hold_a_pickle_or_is_no_file_is_not_in_the_manifest(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name) if name == "fifo" else (tmp_path / name).touch()
    assert unlisted(str(tmp_path), {"_common_metadata"}) == [name]


MANIFEST = {
    "num_classes": 7,
    "lanes": 4,
    "splits": {"train": {"rows": 9, "row_groups": 4}},
    "labels": {"train": 12},
    "replication": {
        "train_rows": 9,
        "epoch_rows": 9.5,
        "classes_repeated": 1,
        "largest_factor": 2,
        "shares": {
            3: {"class": 1, "before": 0.1, "after": 1 / 3},
            20: {"class": 2, "before": 0, "after": float("nan")},
        },
    },
    "appended": [
        {
            "rows": 4,
            "written_at": "2026-01-01 00:00 UTC",
            "config": {
                "groups": "g.parquet",
                "splits": {"seed": 0, "val": 0.1, "test": 0, "lists": [], "folds": 0, "fold": 0},
                "layout": {"seed": 1, "ranks": 4},
                "replication": {"kind": "sqrt", "threshold": 0.5},
            },
        }
    ],
    "files": {"split=train/part-0.parquet": {"rows": 9, "row_groups": 4, "bytes": 1, "sha256": "0"}},
    "metadata": {},
    "config": {
        "groups": "",
        "splits": {"seed": 0, "val": 0.1, "test": 0, "lists": ["val=v.txt"], "folds": 0, "fold": 0},
        "layout": {"seed": 2**64 - 1, "ranks": 4},
        "replication": {"kind": "sqrt", "threshold": 0.5},
        "ünï": None,
    },
    "written_at": "2026-01-01 00:00 UTC",
    "versions": {"ml-images": "1"},
    "commit": None,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_classes", 8), ("lanes", 8), ("labels", {"train": 8}), ("replication", None), ("commit", "8"), ("more", 8)],
)
def test_a_manifest_notices_what_was_altered_in_itself(tmp_path: Path, name: str, value: object) -> None:
    file = tmp_path / "_manifest.json"
    write_manifest(str(tmp_path), MANIFEST)
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
    told = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(told.items()))))  # the same in another order and spelling
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
    file.write_text(json.dumps(told | {name: value}))
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "other bytes than written"}


def put(told: Any, place: tuple[str, ...], value: object) -> Any:
    """`told` with another value in one place of it."""
    return value if not place else told | {place[0]: put(told[place[0]], place[1:], value)}


def places(told: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All places that have a value."""
    inner = [found for name in told for found in places(told[name], (*place, name))] if isinstance(told, dict) else []
    return [place, *inner]


FILE = "split=train/part-0.parquet"
WHOLE = json.loads(json.dumps(MANIFEST | {"metadata": {"_vocabulary": {"bytes": 1, "sha256": "0"}}}))
ANYTHING = {("config", "ünï"), ("config", "layout", "ranks")}  # which nobody asks for


@pytest.mark.parametrize("place", [place for place in places(WHOLE) if place not in ANYTHING], ids=repr)
def test_no_field_of_a_manifest_may_hold_anything_else(tmp_path: Path, place: tuple[str, ...]) -> None:
    (tmp_path / "_manifest.json").write_text(json.dumps(WHOLE))
    assert read_manifest(str(tmp_path), *WHOLE) == WHOLE
    for value in (True, [None], {"": None}):
        (tmp_path / "_manifest.json").write_text(json.dumps(put(WHOLE, place, value)))
        with pytest.raises(InputError, match=r"_manifest\.json (holds|lacks|names)") as caught:
            read_manifest(str(tmp_path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("files", FILE, "sha256"), 7, r"holds 7 as files\[split=train/part-0\.parquet\]\.sha256, a text is expected"),
        (("files", FILE, "rows"), "12", r'holds "12" as files\[.*\]\.rows, a whole number from 0'),
        (("files", FILE, "rows"), None, r"holds null as files\[.*\]\.rows, a whole number from 0"),
        (("metadata", "_vocabulary"), {"sha256": "0"}, r"lacks metadata\[_vocabulary\]\.bytes"),
        (("metadata",), [1], r"holds \[1\] as metadata, an object is expected"),
        (("splits", "train"), 5, r"holds 5 as splits\[train\], an object is expected"),
        (("splits", "train"), {"rows": 9}, r"lacks splits\[train\]\.row_groups"),
        (("num_classes",), 0, r"holds 0 as num_classes or lanes, 1 is the least"),
        (("lanes",), 0, r"holds 0 as num_classes or lanes, 1 is the least"),
        (("files",), {"split=train/../x": WHOLE["files"][FILE]}, r"names 'split=train/\.\./x' among its files"),
        (("files",), {"split=new/part-0.parquet": WHOLE["files"][FILE]}, r"names 'split=new/part-0.parquet' among"),
        (("metadata",), {"/etc/hosts": {"bytes": 1, "sha256": ""}}, r"names '/etc/hosts' among its metadata"),
    ],
)
def test_an_odd_manifest_is_one_line_that_names_the_field(
    tmp_path: Path, place: tuple[str, ...], value: object, says: str
) -> None:
    (tmp_path / "_manifest.json").write_text(json.dumps(put(WHOLE, place, value)))
    with pytest.raises(InputError, match=rf"^{tmp_path}/_manifest\.json {says}"):
        read_manifest(str(tmp_path))


def test_a_manifest_without_its_digest_was_altered(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_text(json.dumps(MANIFEST))
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "other bytes than written"}


def test_a_manifest_is_written_over_with_the_digest_of_its_new_content(tmp_path: Path) -> None:
    write_manifest(str(tmp_path), MANIFEST)
    write_manifest(str(tmp_path), json.loads((tmp_path / "_manifest.json").read_text()) | {"lanes": 8})
    assert check_metadata(str(tmp_path)) == {"_manifest.json": "intact"}
