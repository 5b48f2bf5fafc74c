from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.spark.dataset_join import check_groups


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


def test_groups_may_be_numbers_and_keys_categories(tmp_path: Path) -> None:
    keys = pa.array(["key-0001", "key-0002"]).dictionary_encode()
    pq.write_table(pa.table({"key": keys, "group": [1, 1]}), tmp_path / "a.parquet")
    (tmp_path / "_SUCCESS").touch()
    check_groups(str(tmp_path))
