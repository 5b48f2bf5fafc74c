import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.labels.split_lists import read_lists


def read(*entries: str) -> dict[str, str]:
    rows = read_lists(entries).to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["split"] for row in rows}


def test_tables_and_text_files_say_the_same(tmp_path: Path) -> None:
    expected = {"a": "train", "ü,1": "val", "17": "val"}
    pq.write_table(pa.table({"split": list(expected.values()), "key": list(expected)}), tmp_path / "l.parquet")
    (tmp_path / "l.csv").write_text('key,other,split\na,1,train\n"ü,1",2,val\n17,3,val\n', "utf-8")
    (tmp_path / "l.tsv.gz").write_bytes(gzip.compress("split\tkey\ntrain\ta\nval\tü,1\nval\t17\n".encode()))
    (tmp_path / "v.txt").write_text("\ufeffü,1\r\n\r\n17", "utf-8")
    (tmp_path / "x=y").write_text("a\n", "utf-8")
    for name in ("l.parquet", "l.csv", "l.tsv.gz"):
        assert read(f"{tmp_path}/{name}") == expected
    assert read(f"val={tmp_path}/v.txt", f"train={tmp_path}/x=y") == expected
    assert read(f"{tmp_path}/l.csv", f"val={tmp_path}/v.txt") == expected  # said twice, the same


def test_a_key_in_two_splits_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a\nb\nc\n")
    (tmp_path / "t.txt").write_text("d\nb\nc\n")
    with pytest.raises(InputError, match=r"^2 keys of splits.lists are in two splits, such as 'b' in test and val: a"):
        read(f"val={tmp_path}/v.txt", f"test={tmp_path}/t.txt")


@pytest.mark.parametrize(
    ("name", "content", "entry", "message"),
    [
        ("v.txt", "a\n", "validation={}", r"names the split 'validation'; accepted: train, val, test"),
        ("l.csv", "key,split\na,dev\n", "{}", r"names the split 'dev'; accepted: train, val, test"),
        ("l.csv", "key,fold\na,1\n", "{}", r"has the columns key, fold; key and split are needed"),
        ("l.csv", "key,key,split\na,b,val\n", "{}", r"columns key, key, split; key and split are needed, each once"),
        ("l.csv", "key,split\n", "val={}x", r"does not exist"),
        ("l.parquet", "key", "{}", r"cannot be read"),
        ("l.csv", "key,split\na\n", "{}", r"cannot be read"),
        ("l.txt", "a\n", "{}", r"is neither a table \(.parquet, .csv, .tsv\) nor SPLIT=FILE .* such as val="),
    ],
)
def test_lists_that_make_no_sense_are_refused_in_one_line(
    tmp_path: Path, name: str, content: str, entry: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read(entry.format(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_and_missing_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        read(f"val={tmp_path}/v.txt")
    pq.write_table(pa.table({"key": ["a", None], "split": ["val", "val"]}), tmp_path / "l.parquet")
    with pytest.raises(InputError, match="has rows without a key or a split"):
        read(f"{tmp_path}/l.parquet")
    for keys in ([["a"]], [b"\xff"]):
        pq.write_table(pa.table({"key": keys, "split": ["val"]}), tmp_path / "l.parquet")
        with pytest.raises(InputError, match="key and split are no text"):
            read(f"{tmp_path}/l.parquet")
