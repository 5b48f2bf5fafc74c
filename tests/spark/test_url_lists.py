import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.download.entries import BadEntry, ListColumns, to_wanted
from ml_images.errors import InputError
from ml_images.spark.url_lists import Entries, is_usable, read_entries
from ml_images.storage import tables

OPEN_IMAGES = ListColumns(
    key="ImageID", urls=["OriginalURL", "Thumbnail300KURL"], size="OriginalSize", md5="OriginalMD5", rotation="Rotation"
)
HEADER = ["ImageID", "Title", "OriginalURL", "Thumbnail300KURL", "OriginalSize", "OriginalMD5", "Rotation"]
ROWS = [
    ["a1", 'so "called", quoted', "http://h/a.jpg", "http://h/a_z.jpg", "7", "KFukvivpCM5QXl5SqKe41g==", "90.0"],
    ["b2", "plain", "http://h/b.jpg", None, "8", None, None],
]
WANTED = {
    "a1": (["http://h/a.jpg", "http://h/a_z.jpg"], "7", "KFukvivpCM5QXl5SqKe41g==", "90.0"),
    "b2": (["http://h/b.jpg", None], "8", None, None),
}


def write(path: Path) -> Path:
    """ROWS in the format of the path's ending."""
    if path.suffix == ".parquet":
        columns = [pa.array([row[place] for row in ROWS], pa.string()) for place in range(len(HEADER))]
        pq.write_table(pa.Table.from_arrays(columns, HEADER), path)
        return path
    mark = "\t" if ".tsv" in path.name else ","
    quoted = [['"{}"'.format((cell or "").replace('"', '""')) if cell else "" for cell in row] for row in ROWS]
    text = "".join(mark.join(row) + "\n" for row in [HEADER, *quoted]).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def found(entries: Entries) -> dict[str, tuple[Any, ...]]:
    return {row["key"]: (row["urls"], row["size"], row["md5"], row["rotation"]) for row in entries.frame.collect()}


def list_rows(entries: Entries) -> dict[str, int | None]:
    return {row["key"]: row["list_rows"] for row in entries.accounted.collect()}


@pytest.mark.parametrize("name", ["list.parquet", "list.csv", "list.tsv", "list.csv.gz"])
def test_named_columns_of_every_format_give_the_same_entries(name: str, spark: Any, tmp_path: Path) -> None:
    assert found(read_entries(spark, "", [str(write(tmp_path / name))], OPEN_IMAGES)) == WANTED


def test_a_plain_list_is_a_url_a_line_which_is_its_key(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("http://h/a.jpg\n\n  http://h/b.jpg  \nhttp://h/a.jpg\n")
    entries = found(read_entries(spark, "", [str(tmp_path / "*.txt")], ListColumns()))
    assert entries == {url: ([url], None, None, None) for url in ("http://h/a.jpg", "http://h/b.jpg")}


def test_labels_say_which_keys_are_wanted_and_lists_where_they_are(spark: Any, tmp_path: Path) -> None:
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in ("b2", "c3")]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    with write(tmp_path / "list.csv").open("a") as file:
        file.write(",,http://h/nobody.jpg,,,,\n")
    entries = read_entries(spark, str(tmp_path / "labels"), [str(tmp_path / "list.csv")], OPEN_IMAGES)
    assert found(entries) == {"b2": WANTED["b2"], "c3": (None, None, None, None)}
    assert list_rows(entries) == {"b2": 1, "c3": None, "": 1}


def test_a_key_in_several_rows_has_one_entry_the_same_on_every_run(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,url\nk,http://h/b\nk,http://h/a\nk,http://h/c\n")
    entries = read_entries(spark, "", [str(tmp_path / "list.csv")], ListColumns(key="id", urls=["url"]))
    assert found(entries) == {"k": (["http://h/a"], None, None, None)}


def test_of_several_rows_of_a_key_the_fullest_counts(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,url,turn\nk,,90\nk,http://h/a,\nk,http://h/b,90\n,http://h/c,\n,,\n")
    columns = ListColumns(key="id", urls=["url"], rotation="turn")
    entries = read_entries(spark, "", [str(tmp_path / "list.csv")], columns)
    assert found(entries) == {"k": (["http://h/b"], None, None, "90")}
    assert list_rows(entries) == {"k": 3, "": 2}


def test_spark_and_workers_agree_on_what_is_a_usable_entry(spark: Any) -> None:
    values = {
        "size": [None, "", " 7 ", "494555.0", "many", "-1", "1.5", "7\n8", "٣"],
        "md5": [
            None,
            "KFukvivpCM5QXl5SqKe41g==",
            " " + "0a" * 16,
            "0A" * 16,
            "zz" * 16,
            "abc",
            "KFukvivpCM5QXl5SqKe41g=",
        ],
        "rotation": [None, " ", "0", "90.0", "270", "45", "90.00"],
    }
    blank = {"key": "k", "urls": ["http://h/a", "http://h/b"], "size": None, "md5": None, "rotation": None}
    rows = [blank | {name: value} for name, some in values.items() for value in some]
    rows += [row | {"urls": urls} for row in rows for urls in (None, ["http://h/a", " "], [None, "http://h/b"])]
    frame = spark.createDataFrame(rows, "key string, urls array<string>, size string, md5 string, rotation string")
    for urls in (["a", "b"], ["a", "http://mirror/{key}"]):
        columns = ListColumns(key="id", urls=urls, size="size", md5="md5", rotation="rotation", checked=urls[1])
        told = [row["is_usable"] for row in frame.select(is_usable(columns).alias("is_usable")).collect()]
        assert told == [is_taken(row, columns) for row in rows]


def is_taken(row: dict[str, Any], columns: ListColumns) -> bool:
    try:
        to_wanted(**row, columns=columns)
    except BadEntry:
        return False
    return True


def test_a_template_needs_no_column(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,other\nk,1\n")
    columns = ListColumns(key="id", urls=["http://mirror/{key}.jpg"])
    assert found(read_entries(spark, "", [str(tmp_path / "list.csv")], columns)) == {"k": ([None], None, None, None)}


def test_wrong_lists_are_named(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,link\nk,http://h/b\n")
    with pytest.raises(InputError, match=r"list\.csv' has no column 'url'; it has id, link"):
        read_entries(spark, "", [str(tmp_path / "list.csv")], ListColumns())
    for name in ("list.json", "list.csv.zst", "list.parquet.gz"):
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(InputError, match=r"accepted are \.parquet, .* the last three also as \.gz and \.bz2"):
            read_entries(spark, "", [str(tmp_path / name)], ListColumns())
    with pytest.raises(InputError, match="does not exist"):
        read_entries(spark, "", [str(tmp_path / "none.csv")], ListColumns())
