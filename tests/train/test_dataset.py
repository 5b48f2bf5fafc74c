import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_builder import write_metadata

from ml_images.errors import InputError
from ml_images.storage.petastorm import ROW_GROUPS
from ml_images.train.dataset import check_folder, digest_of, read_split

Make = Callable[..., Path]


def test_a_split_knows_the_rows_of_its_row_groups(make_dataset: Make) -> None:
    root = make_dataset(train=(5, 5, 4), val=(3,), num_classes=4)
    split = read_split(str(root), "train")
    assert (split.location, split.num_classes, split.row_groups) == (str(root / "split=train"), 4, (5, 5, 4))
    assert [split.place_of(group) for group in range(3)] == [
        ("part-00000.parquet", 0),
        ("part-00001.parquet", 0),
        ("part-00001.parquet", 1),
    ]
    assert (split.largest.rows, split.largest.labels) == (5, 6)  # the first row of each five has two
    assert read_split(f"file://{root}", "val").rows == 3
    assert read_split(str(root), "test").row_groups == ()


class Explosive:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("", "_common_metadata"),
        ("split=train", "_common_metadata"),
        ("split=train", "harmless_common_metadata"),
        ("split=train/below", "_metadata"),
    ],
)
@pytest.mark.parametrize("key", ["dataset-toolkit.unischema.v1", "dataset-toolkit.rowgroups_index.v1"])
def test_a_pickle_is_refused_before_anything_opens_it(
    make_dataset: Make, tmp_path: Path, folder: str, name: str, key: str
) -> None:
    root, trap = make_dataset(), tmp_path / "ran"
    (root / folder).mkdir(exist_ok=True)
    write_metadata(root / folder, {key.encode(): pickle.dumps(Explosive(trap)), ROW_GROUPS: b"{}"}, name)
    with pytest.raises(InputError, match=rf"{name} holds a pickle \({key}\).*refused"):
        read_split(str(root), "train")
    assert not trap.exists()


def test_a_pickle_behind_a_symbolic_link_is_refused_before_anything_opens_it(
    make_dataset: Make, tmp_path: Path
) -> None:
    root, trap = make_dataset(), tmp_path / "ran"
    split = (root / "split=train").rename(tmp_path / "elsewhere")
    (root / "split=train").symlink_to(split)
    write_metadata(split, {b"dataset-toolkit.unischema.v1": pickle.dumps(Explosive(trap)), ROW_GROUPS: b"{}"})
    with pytest.raises(InputError, match=r"split=train' is a symbolic link to a folder: refused"):
        check_folder(str(root))
    assert not trap.exists()


def test_a_link_to_the_whole_data_set_is_followed(make_dataset: Make, tmp_path: Path) -> None:
    root = make_dataset()
    (tmp_path / "link").symlink_to(root)
    assert read_split(str(tmp_path / "link"), "train").rows == read_split(str(root), "train").rows
    write_metadata(root / "split=train", {b"dataset-toolkit.unischema.v1": b"."})
    with pytest.raises(InputError, match=r"holds a pickle"):
        check_folder(str(tmp_path / "link"))


def test_the_digest_of_a_split_tells_data_sets_apart_wherever_they_lie(make_dataset: Make, tmp_path: Path) -> None:
    root = make_dataset()
    digest = digest_of(read_split(str(root), "train"))
    moved = root.rename(tmp_path / "moved")
    assert digest_of(read_split(str(moved), "train")) == digest
    with (moved / "_manifest.json").open("a") as manifest:
        manifest.write(" ")
    assert digest_of(read_split(str(moved), "train")) != digest
    assert digest_of(read_split(str(make_dataset(files=4)), "train")) != digest


def test_an_unfinished_data_set_is_refused(make_dataset: Make) -> None:
    root = make_dataset()
    (root / "_SUCCESS").unlink()
    with pytest.raises(InputError, match=r"has no _SUCCESS"):
        check_folder(str(root))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a file, expected a data set folder"):
        check_folder(str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"is missing, expected"):
        check_folder(str(tmp_path / "nothing"))


def test_a_file_more_or_less_than_the_manifest_says_is_refused(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=train" / "part-00001.parquet"
    moved = part.rename(root / "elsewhere.parquet")
    with pytest.raises(InputError, match=r"holds 48 rows in 2 row groups, its manifest says 96 in 4"):
        read_split(str(root), "train")
    moved.rename(part.with_name("part-00002.parquet"))
    with pytest.raises(InputError, match=r"does not list the files that are there"):
        read_split(str(root), "train")


def test_files_that_no_manifest_names_are_not_read(make_dataset: Make) -> None:
    root = make_dataset()
    manifest = json.loads((root / "_manifest.json").read_text())
    told = {"rows": 48, "row_groups": 2, "bytes": 0, "sha256": ""}
    manifest["files"] = {f"split=train/part-{number:05d}.parquet": told for number in range(2)}
    (root / "_manifest.json").write_text(json.dumps(manifest))
    added = root / "split=train" / "part-00002.parquet"
    added.write_bytes((root / "split=train" / "part-00000.parquet").read_bytes())  # of an append that was cut off
    assert read_split(str(root), "train").rows == 96


@pytest.mark.parametrize(
    ("name", "kind"),
    [("classes", pa.list_(pa.int64())), ("confidences", pa.list_(pa.float64())), ("key", pa.large_string())]
    + [("replication", kind) for kind in (pa.float64(), pa.int32(), pa.string())],
)
def test_a_file_with_columns_of_other_types_is_named(make_dataset: Make, name: str, kind: pa.DataType) -> None:
    root = make_dataset()
    part = root / "split=train" / "part-00001.parquet"
    rows = pq.ParquetFile(part).read()
    place = rows.column_names.index(name)
    pq.write_table(rows.set_column(place, name, rows[name].cast(kind)), part)
    with pytest.raises(InputError, match=rf"part-00001.parquet has the column {name} as .*, a data set has"):
        read_split(str(root), "train")


def test_damaged_names_of_columns_are_named(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=train" / "part-00001.parquet"
    part.write_bytes(part.read_bytes().replace(b"replication", b"\xff\xfeplication"))
    with pytest.raises(InputError, match=r"part-00001\.parquet is not a readable Parquet file"):
        read_split(str(root), "train")


def test_a_truncated_part_is_named(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=val" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-00000.parquet is not a readable Parquet file"):
        read_split(str(root), "val")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("[]", r"holds \[\], an object"),
        (json.dumps({"num_classes": 3}), "lacks splits"),
        (json.dumps({"splits": {}}), "lacks num_classes"),
        (json.dumps({"num_classes": 6, "splits": {"train": 5}}), r"holds 5 as splits\[train\]"),
        (json.dumps({"num_classes": 6, "splits": {}, "files": None}), "holds null as files"),
    ],
)
def test_a_manifest_that_is_none_is_refused(make_dataset: Make, text: str, says: str) -> None:
    root = make_dataset()
    (root / "_manifest.json").write_text(text)
    with pytest.raises(InputError, match=rf"/_manifest\.json {says}"):
        read_split(str(root), "train")
    (root / "_manifest.json").unlink()
    with pytest.raises(InputError, match=r"has no _manifest\.json"):
        read_split(str(root), "train")


@pytest.mark.parametrize(
    ("text", "says"), [(b"{", "is not JSON"), (b"[]", r"holds \[\], an object"), (b'{"a": "1"}', r'holds "1" as \[a\]')]
)
def test_odd_counts_of_row_groups_are_refused(make_dataset: Make, text: bytes, says: str) -> None:
    root = make_dataset()
    write_metadata(root / "split=train", {ROW_GROUPS: text})
    with pytest.raises(InputError, match=rf"split=train/_common_metadata, dataset-toolkit\.num_row.*, {says}"):
        read_split(str(root), "train")
