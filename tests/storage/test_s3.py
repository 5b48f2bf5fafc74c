import time
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs

from ml_images.errors import InputError, StorageError
from ml_images.storage import tables
from ml_images.storage.paths import find_files, for_spark, for_spark_to_write, join, open_location, resolve
from ml_images.storage.s3 import Place, parse, spark_settings

ROWS = pa.table({"key": ["a", "b"], "n": [1, 2]})


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://bucket/a/b/", Place("", "bucket/a/b")),
        ("s3a://bucket/a%20b", Place("", "bucket/a%20b")),
        ("s3+http://127.0.0.1:9000/bucket", Place("http://127.0.0.1:9000", "bucket")),
        ("s3+https://ceph.example.org/bucket/you@home", Place("https://ceph.example.org", "bucket/you@home")),
        ("s3+http://[::1]:9/bucket/x", Place("http://[::1]:9", "bucket/x")),
        ("gs://bucket/x", None),
        ("/data/s3://x", None),
        ("out/labels", None),
    ],
)
def test_a_location_names_server_bucket_and_key(location: str, place: Place | None) -> None:
    assert parse(location) == place


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("s3://AKIA:hush@bucket/x", "not the place for keys"),
        ("s3://AKIA:hu/sh@bucket/x", "not the place for keys"),
        ("s3+https://AKIA:hush@ceph/bucket/x", "not the place for keys"),
        ("s3+https://AKIA:hu/sh@ceph/bucket/x", "names no server"),
        ("s3+http:///bucket/x", "names no server"),
        ("s3://bucket/x?endpoint_override=host&scheme=http", r"no options after a '\?'; give s3://.*s3\+http://host"),
        ("s3://bucket?region=hush", r"no options after a '\?'"),
        ("s3://", "an empty name"),
        ("s3+http://host:9", "an empty name"),
        ("s3://bucket/a//b", "an empty name"),
    ],
)
def test_keys_and_nonsense_are_one_line_that_repeats_no_key(location: str, says: str) -> None:
    for use in (parse, resolve, open_location, for_spark, for_spark_to_write):
        with pytest.raises(InputError, match=says) as caught:
            use(location)
        assert "\n" not in str(caught.value)
        assert "hu" not in str(caught.value).replace("hush'", "")


def test_spark_gets_s3a_with_the_server_in_its_settings() -> None:
    location = "s3+http://127.0.0.1:9000/bucket/a[1] %20"
    assert resolve(location) == location
    assert for_spark(location) == r"s3a://bucket/a\[1\] %20"
    assert for_spark_to_write(location) == "s3a://bucket/a[1] %20"
    assert spark_settings(location, "s3://amazons/x", "/local") == {
        "spark.hadoop.fs.s3a.bucket.bucket.endpoint": "http://127.0.0.1:9000",
        "spark.hadoop.fs.s3a.bucket.bucket.path.style.access": "true",
        "spark.hadoop.fs.s3a.bucket.bucket.connection.ssl.enabled": "false",
    }
    assert spark_settings("s3+https://ceph/b.c/x")["spark.hadoop.fs.s3a.bucket.b.c.connection.ssl.enabled"] == "true"


def closed_port(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    return "s3+http://127.0.0.1:9/bucket"


def wrong_key(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    bucket: str = s3.bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone-elses")
    return bucket


def no_bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    return f"s3+{s3.address}/no-such-bucket"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (closed_port, r"NETWORK_CONNECTION .*; give s3://bucket/path for Amazon, s3\+http://"),
        (wrong_key, r"ACCESS_DENIED .*; keys: they come from AWS_ACCESS_KEY_ID"),
        (no_bucket, "there is no bucket 'no-such-bucket'"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_within_seconds(
    place: Any, says: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = join(place(s3, monkeypatch), "out", "labels")
    began = time.monotonic()
    for use in (
        lambda: tables.require(location, "labels"),
        lambda: tables.claim(location, "labels"),
        lambda: find_files([f"{location}/*.txt"], "annotation list"),
    ):
        with pytest.raises(InputError, match=f"cannot open '{location.replace('+', '.')}.*': .*{says}") as caught:
            use()
        assert "\n" not in str(caught.value)
        assert "loopback-secret" not in str(caught.value)
    assert time.monotonic() - began < 60


def test_whoever_may_see_one_folder_only_may_use_that(s3: Any) -> None:
    location = join(s3.bucket(), "mine")
    s3.denies = lambda request: "/mine" not in request and "=mine" not in request
    tables.write_table(location, "labels", ROWS)
    assert tables.read_table(location, "labels").equals(ROWS)


def test_a_table_comes_back_and_is_done_last(s3: Any) -> None:
    location = join(s3.bucket(), "deep", "below", "labels")
    with pytest.raises(InputError, match=f"labels table '{location.replace('+', '.')}' does not exist"):
        tables.require(location, "labels")
    tables.write_table(location, "labels", ROWS)
    assert s3.requests[-1].startswith("POST ")
    assert "/deep/below/labels/_SUCCESS?uploadId=" in s3.requests[-1]
    assert not [request for request in s3.requests if request.endswith(("/deep/?", "/deep/below/?"))]
    assert tables.read_table(location, "labels").equals(ROWS)
    tables.write_table(location, "labels", ROWS.slice(1))
    assert tables.read_table(location, "labels").equals(ROWS.slice(1))
    assert tables.parts(location) == ["part-000000.parquet"]
    assert not tables.staged_parts(location)


def stage_again(location: str, parts: int) -> None:
    tables.clear_staging(location)
    for number in range(parts):
        table = ROWS.append_column("run", [[parts] * 2])
        tables.write_part(join(location, tables.STAGING, f"split=train/part-{number}.parquet"), table)


def writes(request: str) -> bool:
    # A refused completion of an upload would have Arrow's destructor wait for 50 s; the start of each is among them.
    return not request.startswith(("GET", "HEAD")) and not (request.startswith("POST") and "?uploadId=" in request)


def test_a_publication_that_ends_at_any_request_is_not_taken_for_done(s3: Any) -> None:
    """The second run of a table is refused its first, second, ... writing request, and goes on when asked again."""
    location = join(s3.bucket(), "labels")
    tables.claim(location, "labels")
    stage_again(location, 1)
    tables.publish(location)
    for allowed in count():
        stage_again(location, 2)
        left = iter(range(allowed))
        s3.denies = lambda request, left=left: writes(request) and next(left, None) is None
        try:
            tables.publish(location)
        except StorageError as error:
            assert "\n" not in str(error)
            s3.denies = lambda request: False
            # Before the first of them has happened the table is still that of the first run.
            assert tables.is_done(location) == (allowed == 0)
        else:
            break
    assert allowed > 8
    assert tables.is_done(location)
    assert tables.parts(location) == [f"split=train/part-{number}.parquet" for number in range(2)]
    assert tables.read_part(join(location, "split=train/part-1.parquet"))["run"].to_pylist() == [2, 2]


def test_an_unfinished_write_leaves_nothing_that_anyone_reads(s3: Any) -> None:
    part = join(s3.bucket(), "labels", "part-0.parquet")
    with pytest.raises(KeyError), tables.open_part(part, ROWS.schema) as writer:
        writer.write_table(ROWS)
        raise KeyError
    filesystem, path = open_location(part)
    found = filesystem.get_file_info(fs.FileSelector(path.rpartition("/")[0], recursive=True, allow_not_found=True))
    assert [info.path for info in found if info.type == fs.FileType.File] == []


def test_what_the_store_refuses_in_the_middle_is_one_line(s3: Any) -> None:
    location = join(s3.bucket(), "labels")
    tables.claim(location, "labels")
    s3.denies = lambda request: request.startswith("POST")
    with pytest.raises(StorageError, match=r"cannot write 's3\+http.*': AWS Error ACCESS_DENIED.*not marked as done$"):
        tables.write_part(join(location, "part-0.parquet"), ROWS)


def test_a_part_that_the_store_lost_is_missed(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    location = join(s3.bucket(), "labels")
    tables.stage_table(location, "labels", ROWS)
    answer = s3.answer

    def pretend(app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"].endswith("/labels/part-000000.parquet") and environ["REQUEST_METHOD"] == "PUT":
            start_response("200 OK", [("Content-Type", "application/xml")])
            return [b"<CopyObjectResult></CopyObjectResult>"]
        return answer(app, environ, start_response)

    monkeypatch.setattr(s3, "answer", pretend)
    with pytest.raises(StorageError, match=r"lost 1 parts while it copied them, 'part-000000\.parquet'"):
        tables.publish(location)
    assert not tables.is_done(location)


def test_patterns_give_the_files_of_a_bucket(s3: Any) -> None:
    bucket = s3.bucket()
    for name in (
        "lists/b.txt",
        "lists/a.txt",
        "lists/c.csv",
        "lists/.hidden.txt",
        "lists/deep/d.txt",
        "lists/we[1].txt",
    ):
        tables.write_text(join(bucket, name), name)
    found = find_files([f"{bucket}/lists/[ab].txt", f"{bucket}/*/deep/?.txt", f"{bucket}/lists/we[1].txt"], "list")
    names = ["lists/a.txt", "lists/b.txt", "lists/deep/d.txt", "lists/we[1].txt"]
    assert found == [(join(bucket, name), len(name)) for name in names]
    assert [name for name, _ in find_files([f"{bucket}/lists/*.txt"], "list")] == [
        f"{bucket}/lists/{name}.txt" for name in ("a", "b", "we[1]")
    ]
    with pytest.raises(InputError, match="matches no file"):
        find_files([f"{bucket}/lists/*.zip"], "list")
