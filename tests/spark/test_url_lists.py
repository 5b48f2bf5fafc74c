import csv
import decimal
import gzip
import hashlib
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from ml_images import schemas
from ml_images.download.entries import BadEntry, ListColumns, to_wanted
from ml_images.download.keys import NOT_AS_EXPECTED
from ml_images.errors import InputError
from ml_images.spark.url_files import open_lines
from ml_images.spark.url_lists import Entries, has_moved, is_expected_otherwise, is_usable, read_entries
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


def test_numbers_that_pandas_made_floats_are_whole_ones(spark: Any, tmp_path: Path) -> None:
    sizes = pa.array([12345678.0, None, float("nan"), 7.5, float("inf"), 1e300], pa.float64())
    rows = {"key": list("abcdef"), "url": ["http://h/a.jpg"] * 6, "bytes": sizes}
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    columns = ListColumns(key="key", urls=["url"], size="bytes")
    entries = found(read_entries(spark, "", [str(tmp_path / "list.parquet")], columns))
    assert {key: size for key, (_, size, _, _) in entries.items()} == {
        "a": "12345678",
        "b": None,
        "c": None,
        "d": "7.5",
        "e": "Infinity",
        "f": "1.0E300",
    }


def write_parquet(path: Path, **columns: Any) -> str:
    """A list of two keys and URLs, whose columns may be replaced and more given."""
    pq.write_table(pa.table({"id": ["a", "b"], "url": ["http://h/a", "http://h/b"]} | columns), path)
    return str(path)


BY_ID = ListColumns(key="id", urls=["url"])


def test_types_that_spark_does_not_read_matter_only_in_columns_that_are_asked_for(spark: Any, tmp_path: Path) -> None:
    times = {"taken": pa.array([0, 1], pa.timestamp("ns")), "at": pa.array([0, 1], pa.time64("ns"))}
    path = write_parquet(tmp_path / "list.parquet", **times, Taken=["x", "y"])
    expected = {key: ([f"http://h/{key}"], None, None, None) for key in ("a", "b")}
    assert found(read_entries(spark, "", [path], BY_ID)) == expected
    with pytest.raises(InputError, match=r"column 'at' is time64\[ns\], text and numbers are accepted"):
        read_entries(spark, "", [path], ListColumns(key="id", urls=["at"]))


KINDS: dict[str, tuple[Any, list[str]]] = {
    "uint64": (pa.array([7, 2**64 - 1], pa.uint64()), ["7", "18446744073709551615"]),
    "int8": (pa.array([7, -1], pa.int8()), ["7", "-1"]),
    "whole floats": (pa.array([7.0, 123456789.0]), ["7", "123456789"]),
    "float32": (pa.array([7.0, 1.5], pa.float32()), ["7", "1.5"]),
    "decimal": (pa.array([decimal.Decimal(7), decimal.Decimal("100.50")], pa.decimal128(20, 2)), ["7", "100.50"]),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    "large_string": (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_keys_and_sizes_of_any_type_of_number_or_text_are_as_they_would_be_written(
    kind: str, spark: Any, tmp_path: Path
) -> None:
    given, expected = KINDS[kind]
    path = write_parquet(tmp_path / "list.parquet", id=given, **{"the `size`.2": given})
    columns = ListColumns(key="id", urls=["url"], size="the `size`.2")
    told = {key: size for key, (_, size, _, _) in found(read_entries(spark, "", [path], columns)).items()}
    assert told == {value: value for value in expected}


def test_files_of_a_list_may_differ_in_their_types_and_columns_of_nothing(spark: Any, tmp_path: Path) -> None:
    nothing, no_number = pa.nulls(2), pa.array([None, float("nan")], pa.float64())
    paths = [
        write_parquet(tmp_path / "text.parquet", id=["a", "10"], other=nothing),
        write_parquet(tmp_path / "number.parquet", id=[2, 3], other=no_number),
    ]
    entries = found(read_entries(spark, "", paths, ListColumns(key="id", urls=["other"], size="other")))
    assert entries == {key: ([None], None, None, None) for key in ("a", "10", "2", "3")}


def test_a_binary_md5_is_written_in_hexadecimal(spark: Any, tmp_path: Path) -> None:
    digest = hashlib.md5(b"a").digest()
    columns = ListColumns(key="id", urls=["url"], md5="md5")
    for kind in (pa.binary(), pa.binary(16)):
        path = write_parquet(tmp_path / "list.parquet", md5=pa.array([digest, None], kind))
        told = {key: md5 for key, (_, _, md5, _) in found(read_entries(spark, "", [path], columns)).items()}
        assert told == {"a": digest.hex().upper(), "b": None}


def test_columns_that_hold_no_text_and_no_numbers_are_named(spark: Any, tmp_path: Path) -> None:
    refused: list[tuple[Any, str]] = [
        (pa.array([b"a", b"\xff"]), "binary"),
        (pa.array([["a"], ["b"]]), r"list<.*>"),
        (pa.array([{"u": "a"}, {"u": "b"}]), r"struct<.*>"),
        (pa.array([True, False]), "bool"),
    ]
    for given, kind in refused:
        path = write_parquet(tmp_path / "list.parquet", id=given)
        with pytest.raises(InputError, match=f"column 'id' is {kind}, text and numbers are accepted"):
            read_entries(spark, "", [path], BY_ID)
    (tmp_path / "list.parquet").write_bytes(b"id,url\n")
    with pytest.raises(InputError, match=r"list\.parquet' cannot be read: "):
        read_entries(spark, "", [path], BY_ID)


def test_a_column_that_is_there_in_two_cases_is_named(spark: Any, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "list.parquet", URL=["x", "y"])
    (tmp_path / "list.csv").write_text("\ufeff\nid,url,URL\nk,x,y\n")
    for location in (path, str(tmp_path / "list.csv")):
        with pytest.raises(InputError, match=r"has column 'url' more than once, in whatever case; it has id, url, URL"):
            read_entries(spark, "", [location], BY_ID)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
def test_fields_with_line_breaks_are_refused_and_not_cut(name: str, place: int, spark: Any, tmp_path: Path) -> None:
    """Wherever the field is; a row of csv.writer's would become one without a URL and one of a key nobody asked for."""
    rows = [[["id", "url"], ["a", "http://h/a"], ["b", "http://h/b"]][row] for row in range(3)]
    for row, title in zip(rows, ["title", 'so "called", x', "two\n\nmore\nlines"], strict=True):
        row.insert(place, title)
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file, delimiter="\t" if name.endswith("tsv") else ",").writerows(rows)
    with pytest.raises(
        InputError, match=rf"{name}': quotes are not closed in [12] of its lines, '.*' for one; fields with"
    ):
        read_entries(spark, "", [str(tmp_path / name)], BY_ID)


def test_quotes_in_a_tsv_that_knows_none_are_letters(spark: Any, tmp_path: Path) -> None:
    text = 'id\ttitle\turl\na\t"Hello world\thttp://h/a\nb\t5" disk\thttp://h/b\n\n"c"\t\thttp://h/c\n'
    (tmp_path / "list.tsv").write_text(text)
    entries = found(read_entries(spark, "", [str(tmp_path / "list.tsv")], BY_ID))
    assert {key: urls for key, (urls, *_) in entries.items()} == {
        key: [url] for key, url in (("a", "http://h/a"), ("b", "http://h/b"), ('"c"', "http://h/c"))
    }
    (tmp_path / "list.tsv").write_text(text + "d\n")
    with pytest.raises(InputError, match=r"""closed in 1 of its lines, 'a\t"Hello world\thttp://h/a' for one"""):
        read_entries(spark, "", [str(tmp_path / "list.tsv")], BY_ID)


def test_lines_are_taken_for_open_where_csv_would_read_on(spark: Any, tmp_path: Path) -> None:
    """Of all lines of up to six letters, as well as of some that are long."""
    lines = ["".join(letters) for size in range(1, 7) for letters in product('a",', repeat=size)]
    lines += ['"' + 'a""' * 40_000 + end for end in ("", '"')] + [',"a"' * 40_000 + end for end in ("", ',"')]
    (tmp_path / "closed.csv").write_text("".join(f"{line}\n" for line in lines if not is_open(line)))
    (tmp_path / "open.csv").write_text("".join(f"{line}\n" for line in lines if is_open(line)))
    tables = {str(path): "," for path in tmp_path.glob("*.csv")}
    told = open_lines(spark, tables)
    assert {location: num for location, (num, _) in told.items()} == {
        str(tmp_path / "open.csv"): sum(map(is_open, lines))
    }


def is_open(line: str) -> bool:
    return len(list(csv.reader([f"{line}\n", "next\n"]))) == 1


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


def test_spark_and_workers_agree_on_what_is_expected_of_a_picture(spark: Any) -> None:
    sizes = [None, " ", "0", " 007 ", "\t70.0", "70", "12345678901234567890"]
    digests = [None, "", "KFukvivpCM5QXl5SqKe41g==", " " + "0a" * 16, "0A" * 16, "ab+/" * 5 + "aB=="]
    urls, columns = ["http://h/a"], ListColumns(key="id", urls=["url"], size="size", md5="md5")
    entries = [(size, md5) for size in sizes for md5 in digests]
    told = [to_wanted("k", urls, *entry, None, columns).candidates[0].expectation for entry in entries]
    assert len(set(told)) == 5 * 4  # 70 is 70.0, and a digest is the same in large letters
    rows = [
        (size, md5, f"http://h/a {NOT_AS_EXPECTED}{before}", before != now)
        for before in sorted({*told} - {""})
        for (size, md5), now in zip(entries, told, strict=True)
    ]
    rows += [(size, md5, detail, False) for size, md5 in entries for detail in (None, "more than 5 redirects")]
    rows += [(size, md5, f"http://h/a {NOT_AS_EXPECTED}7 bytes", True) for size, md5 in (("many", None), ("8", "?"))]
    frame = spark.createDataFrame(rows, "size string, md5 string, detail string, other boolean")
    assert frame.where(is_expected_otherwise(F.col("detail")) != F.col("other")).collect() == []


def moved(spark: Any, rows: list[tuple[Any, ...]], columns: ListColumns, base_url: str = "") -> list[bool]:
    """Of rows (key, urls, outcome, url, detail)."""
    frame = spark.createDataFrame(rows, "key string, urls array<string>, outcome string, url string, detail string")
    column = has_moved(columns, base_url, frame["outcome"], frame["url"], frame["detail"])
    return [row["moved"] for row in frame.select(F.coalesce(column, F.lit(False)).alias("moved")).collect()]


def test_a_final_row_is_outdated_where_its_url_is_not_the_one_that_is_asked_for(spark: Any) -> None:
    cases = [
        # entry, outcome and url of the row, is it outdated, other URLs of which its detail tells
        (["http://h/a", "http://h/b"], "ok", "http://h/a", False),
        (["http://h/b", "http://h/a"], "ok", "http://h/a", False),
        (["http://h/b", None], "ok", "http://h/a", True),
        ([" ", "HTTP://H:80/%61#x"], "ok", "http://h/a", False),
        (["http://h/a", "http://h/b"], "not_found", "http://h/b", False, "http://h/a"),
        (["http://h/a", "http://h/b"], "not_found", "http://h/b", True),  # a was put in front since
        (["http://h/a", "http://h/b"], "not_found", "http://h/b", True, "http://h/c"),
        (["http://h/a", "http://h/b"], "not_found", "http://h/b", True, "http://h/?of=http://h/a"),
        (["http://h/a%20x", "http://h/b"], "not_found", "http://h/b", False, "http://h/a%20x"),
        (["http://h/a; x", "http://h/b"], "not_found", "http://h/b", False, "http://h/a; x"),
        (["http://h/a%20X", "http://h/b"], "not_found", "http://h/b", True, "http://h/a%20x"),
        (["http://h/a", "http://h/c", "http://h/b"], "not_found", "http://h/b", False, "http://h/c", "http://h/a"),
        (["http://h/a", "http://h/b"], "ok", "http://h/b", False),
        (["http://h/a", None], "not_found", "http://h/a", False),
        (["http://h/a", "http://h/b"], "not_found", "http://h/a", True),  # b came since
        (["http://h/b", None], "not_found", "http://h/a", True),
        (["http://h/b", "http://h/%61#x"], "not_found", "http://h/a", False, "http://h/b"),
        (["http://h.example/img_1.jpg", None], "not_found", "http://h.example/IMG_1.jpg", True),
        (["http://h.example/img-1.jpg", None], "not_found", "http://h.example/img_1.jpg", True),
        (["http://h.example/12/3.png", None], "ok", "http://h.example/1/23.png", True),
        (["HTTP://H.Example/a.png", None], "ok", "http://h.example/a.png", False),
        (["HTTP://H.Example:80/./%61.png#top", None], "not_found", "http://h.example/a.png", False),
        (["http://H.Example/IMG_1.jpg", None], "not_found", "http://H.Example/img_1.jpg", True),
        (["http://h.example:8080/a-b.jpg", None], "not_found", "http://h.example:8080/a_b.jpg", True),
        (["http://h.example:8080/a-b.jpg", None], "ok", "http://h.example:8080/a_b.jpg", False),
        (["http://h.example/a%20B.jpg", None], "not_found", "http://h.example/a%20b.jpg", True),
        (["http://h.example/a%20b.jpg", None], "not_found", "http://h.example/a%2520b.jpg", True),
        (["\u00a0http://h:81/a ", None], "not_found", "http://h:81/a", False),
        # Tried were a and b, or a_ and b, though there are three.
        (["http://h/a", "http://h/b", "http://h/a"], "not_found", "http://h/b", False, "http://h/a"),
        (["http://h/a#x", "http://h/b", "http://h/a"], "not_found", "http://h/b", False, "http://h/a#x"),
        (["http://h/a", "http://h/b", None], "placeholder", "http://h/a", True),  # b is left, now that a is found out
        (["http://h/a", None], "placeholder", "http://h/a", False),
        ([None, None], "ok", "http://h/a", False),
        (["http://h/a", None], "bad_entry", None, False),
        (["http://h/a", None], "ok", None, False),  # from an archive
        (None, "ok", "http://h/a", False),
    ]
    columns = ListColumns(key="id", urls=["one", "two", "three"])
    rows, expected = [], []
    for urls, outcome, url, is_moved, *others in cases:
        for told in ("ended as not_found", "ended as http_error (a; b)", f"{NOT_AS_EXPECTED}7 bytes"):
            detail = "; ".join(["many URLs gave it", *(f"{other} {told}" for other in others)])
            rows.append(("k", urls and [*urls, None][:3], outcome, url, detail))
            expected.append(is_moved)
    assert moved(spark, rows, columns) == expected


ODD_KEYS = [
    "a/b.jpg",
    "x y+z",
    "100%",
    "%41",
    "a/../b",
    "ü/图",
    "q?r#s",
    "~a_b-c.d*e'f(g)",
    "/lead",
    "a%2Fb",
    "A&B=C@:;,",
    "x; y",
]


def test_urls_that_are_made_of_keys_are_those_that_workers_make(spark: Any) -> None:
    template = ListColumns(key="id", urls=["given", "http://mirror/x/{key}.jpg"])
    for columns, base_url, urls in ((template, "", ["http://h/a", None]), (ListColumns(), "http://h.base/x/", None)):
        for other in (False, True):
            rows = []
            for key in ODD_KEYS:
                *others, last = to_wanted(key, urls, None, None, None, columns, base_url).candidates
                url = last.url.replace("//", "//old") if other else last.url
                told = "; ".join(f"{one.url} ended as not_found" for one in others)
                rows += [(key, urls, outcome, url, told) for outcome in ("ok", "not_found")]
                if others:  # the other way round
                    rows.append((key, urls, "not_found", others[0].url, f"{url} ended as not_found"))
            # A mirror that moves sends the same pictures, but may have what the old one had not.
            expected = [other and outcome == "not_found" for _, _, outcome, *_ in rows]
            assert moved(spark, rows, columns, base_url) == expected


def test_a_template_needs_no_column(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,other\nk,1\n")
    columns = ListColumns(key="id", urls=["http://mirror/{key}.jpg"])
    assert found(read_entries(spark, "", [str(tmp_path / "list.csv")], columns)) == {"k": ([None], None, None, None)}


def test_a_folder_of_parquet_files_is_a_list(spark: Any, tmp_path: Path) -> None:
    for name in ("urls.parquet", "b[1].parquet"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "part-0.parquet")
        (tmp_path / name / "_SUCCESS").touch()
        assert found(read_entries(spark, "", [f"{tmp_path / name}/"], OPEN_IMAGES)) == WANTED


def test_a_list_that_is_cut_is_named(spark: Any, tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"k{number},http://h/{number}\n" for number in range(10_000)).encode())
    (tmp_path / "a list.csv.gz").write_bytes(gzip.compress(b"id,url\n") + whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"^'/.*/a list\.csv\.gz' cannot be read to its end: it is damaged or cut$"):
        read_entries(spark, "", [str(tmp_path / "a list.csv.gz")], ListColumns(key="id"))


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
