import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_builder import write_metadata
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.storage.petastorm import ROW_GROUPS
from ml_images.train.dataset import Split, check_folder, digest_of, plan_epoch, read_split

Make = Callable[..., Path]


def test_a_split_knows_the_rows_of_its_row_groups(make_dataset: Make) -> None:
    root = make_dataset(train=(5, 5, 4), val=(3,), num_classes=4)
    assert read_split(str(root), "train") == Split(str(root / "split=train"), 4, (5, 5, 4))
    assert read_split(f"file://{root}", "val").rows == 3
    assert read_split(str(root), "test").row_groups == ()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 40), st.integers(1, 20))
def test_every_rank_can_make_all_the_steps_of_a_plan_and_none_could_make_more(
    row_groups: list[int], size: int, batch_size: int
) -> None:
    split = Split("somewhere", 1, tuple(row_groups))
    shards = [sum(row_groups[rank::size]) for rank in range(size)]
    if len(row_groups) < size or min(shards) < batch_size:
        with pytest.raises(InputError):
            plan_epoch(split, batch_size, size)
        return
    plan = plan_epoch(split, batch_size, size)
    assert plan.steps * batch_size <= min(shards) < (plan.steps + 1) * batch_size
    assert plan.steps * batch_size * size + plan.remainder == sum(row_groups)


def test_the_plan_says_what_it_leaves_over() -> None:
    plan = plan_epoch(Split("somewhere", 1, (24, 24, 25, 24)), 10, 2)
    assert str(plan).startswith("97 rows = 4 steps x 2 ranks x 10 images + 17 left over")


def test_fewer_row_groups_than_ranks_are_refused_with_both_numbers_and_the_way_out() -> None:
    with pytest.raises(InputError, match=r"3 row groups for 8 ranks .* jobs/materialize.py layout.ranks=8"):
        plan_epoch(Split("somewhere", 1, (24, 24, 25)), 2, 8)


def test_a_batch_larger_than_a_shard_is_refused() -> None:
    with pytest.raises(InputError, match=r"data.batch_size=50 is more than the 48 rows"):
        plan_epoch(Split("somewhere", 1, (24, 24, 24, 24)), 50, 2)


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
    with pytest.raises(InputError, match=r"local folders and file:// only, got s3://"):
        check_folder("s3://bucket/dataset")
    with pytest.raises(InputError, match=r"cannot be in"):
        check_folder(str(tmp_path / "what?"))


def test_a_file_more_or_less_than_the_manifest_says_is_refused(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=train" / "part-00001.parquet"
    moved = part.rename(root / "elsewhere.parquet")
    with pytest.raises(InputError, match=r"holds 48 rows in 2 row groups, its manifest says 96 in 4"):
        read_split(str(root), "train")
    moved.rename(part.with_name("part-00002.parquet"))
    with pytest.raises(InputError, match=r"does not list the files that are there"):
        read_split(str(root), "train")


def test_a_truncated_part_is_named(make_dataset: Make) -> None:
    root = make_dataset()
    part = root / "split=val" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-00000.parquet is not a readable Parquet file"):
        read_split(str(root), "val")


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"num_classes": 3}), json.dumps({"splits": {}})])
def test_a_manifest_that_is_none_is_refused(make_dataset: Make, text: str) -> None:
    root = make_dataset()
    (root / "_manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"_manifest.json is not the manifest of a data set"):
        read_split(str(root), "train")
