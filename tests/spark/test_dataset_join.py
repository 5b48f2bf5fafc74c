import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.spark.dataset_join import check_groups, read_members


@pytest.mark.parametrize(
    ("column", "values"),
    [("key", [1, 2]), ("key", [["key-0001"], ["key-0002"]]), ("group", [[1], [2]]), ("key", [b"key-0001", b"a"])],
    ids=["integer keys", "keys in lists", "groups in lists", "keys as bytes"],
)
def test_groups_of_other_types_are_refused(tmp_path: Path, column: str, values: list[object]) -> None:
    table = pa.table({"key": ["key-0001", "key-0002"], "group": ["a", "a"]} | {column: values})
    pq.write_table(table, tmp_path / "g.parquet")
    with pytest.raises(InputError, match=r"/g\.parquet' has the column key as .* and group as .*: a key is text"):
        check_groups(str(tmp_path / "g.parquet"))


@pytest.mark.parametrize("folder", [True, False], ids=["in a folder", "alone"])
@pytest.mark.parametrize(
    "content", [b"", b"key,group\nkey-0001,a\n", b"PAR1 and no more PAR1"], ids=["0", "csv", "cut"]
)
def test_groups_that_are_no_parquet_are_refused(tmp_path: Path, content: bytes, folder: bool) -> None:
    pq.write_table(pa.table({"key": ["key-0001"], "group": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "g.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"groups table '.*/g\.txt' cannot be read as Parquet: ") as caught:
        check_groups(str(tmp_path if folder else tmp_path / "g.txt"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [(pa.int64(), pa.string()), (pa.int32(), pa.int64()), (pa.int64(), pa.float64())],
    ids=["a number and a text", "two widths", "whole and not"],
)
def test_groups_in_files_of_different_types_are_refused(tmp_path: Path, first: Any, second: Any) -> None:
    for name, kind in (("a", first), ("b", second)):
        pq.write_table(pa.table({"key": [name], "group": pa.array([1]).cast(kind)}), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=r"/b\.parquet' has the column group as .*, '.*/a\.parquet' as .*: write all"):
        check_groups(str(tmp_path))


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.timestamp("ns"), pa.null()], ids=str)
def test_groups_that_are_neither_text_nor_numbers_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"key": ["a"], "group": pa.array([None], kind)}), tmp_path / "g.parquet")
    with pytest.raises(InputError, match=rf"has the column key as string and group as {re.escape(str(kind))}: a key"):
        check_groups(str(tmp_path))


def test_keys_whose_group_is_no_number_are_in_no_group(spark: Any, tmp_path: Path) -> None:
    groups = pa.array([1.0, 1.0, float("nan"), float("nan"), None])
    pq.write_table(pa.table({"key": list("abcde"), "group": groups}), tmp_path / "g.parquet")
    members = read_members(spark, str(tmp_path / "g.parquet")).collect()
    assert sorted(tuple(row) for row in members) == [("a", "a"), ("b", "a")]


def test_groups_may_be_numbers_and_keys_categories(tmp_path: Path) -> None:
    keys = pa.array(["key-0001", "key-0002"]).dictionary_encode()
    pq.write_table(pa.table({"key": keys, "group": [1, 1]}), tmp_path / "a.parquet")
    (tmp_path / "_SUCCESS").touch()
    check_groups(str(tmp_path))
