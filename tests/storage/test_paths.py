import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_images.errors import InputError
from ml_images.storage.paths import find_files, for_spark, join, open_location, read_bytes, resolve


def test_patterns_give_sorted_files_with_their_sizes(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.csv"):
        (tmp_path / name).write_text(name * 2)
    found = find_files([f"{tmp_path}/*.txt", f"{tmp_path}/c.csv"], "annotation list")
    assert found == [(f"{tmp_path}/{name}", 10) for name in ("a.txt", "b.txt", "c.csv")]


def test_a_file_that_several_patterns_name_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    patterns = [f"{tmp_path}/a.txt", f"{tmp_path}/*.t[x]t", f"file://{tmp_path}/a.txt"]
    patterns += [f"{tmp_path}/link/a.txt", f"{tmp_path}/link/../{tmp_path.name}/a.txt"]
    assert find_files(patterns, "annotation list") == [(f"{tmp_path}/a.txt", 1)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory, a file is expected"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.symlink_to(path), "does not exist"),
        (lambda path: path.symlink_to("/dev/null"), r"is no regular file \(a device or a pipe\), a file is expected"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    path = tmp_path / "x"
    make(path)
    for read in (lambda: find_files([str(path)], "vocabulary"), lambda: read_bytes(str(path), "vocabulary")):
        with pytest.raises(InputError, match=f"^vocabulary '{path}' {says}$"):
            read()


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^annotation list 'x{300}' cannot be read: .*too long"):
        find_files(["x" * 300], "annotation list")


def test_a_name_that_is_not_utf8_or_has_a_zero_byte_is_one_line(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"na\xefve.txt")).write_text("x")
    for name, told in ((f"{tmp_path}/*.txt", r"na\\udcefve.txt'"), ("a\0b", r"'a\\x00b'")):
        with pytest.raises(InputError, match=f"{told} names no file that can be read: it is not UTF-8, or has a zero"):
            find_files([name], "annotation list")


def test_a_pattern_without_files_and_no_pattern_at_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"matches no file"):
        find_files([f"{tmp_path}/*.txt"], "annotation list")
    with pytest.raises(InputError, match="no annotation list was given"):
        find_files([], "annotation list")


def test_two_stars_are_any_folders(tmp_path: Path) -> None:
    for name in ("r.txt", "a/x.txt", "a/b/y.txt", "a/.hidden/z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    found = [place for place, _ in find_files([f"{tmp_path}/**/*.txt"], "annotation list")]
    assert found == [f"{tmp_path}/{name}" for name in ("a/b/y.txt", "a/x.txt", "r.txt")]


def test_urls_and_paths_open_alike(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    for location in (str(tmp_path), f"file://{tmp_path}", f"{tmp_path}/"):
        filesystem, path = open_location(location)
        assert filesystem.get_file_info(join(path, "x")).is_file
    assert resolve(f"file://{tmp_path}") == resolve(f"{tmp_path}/") == str(tmp_path)
    assert resolve("gs://bucket/x") == for_spark("gs://bucket/x") == "gs://bucket/x"


def test_a_bucket_of_google_that_does_not_answer_is_told_in_one_line() -> None:
    location = "gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1:1&retry_limit_seconds=1"
    with pytest.raises(InputError, match=r"^cannot open 'gs://anonymous@bucket/x[^\n]*$"):
        open_location(location)


def test_a_relative_path_is_the_users_not_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("out/labels") == str(tmp_path / "out" / "labels")


def test_a_file_with_a_pattern_for_a_name_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "we[1].txt").write_text("x")
    assert find_files([f"{tmp_path}/we[1].txt"], "annotation list") == [(f"{tmp_path}/we[1].txt", 1)]


def test_an_unknown_scheme_is_one_line() -> None:
    with pytest.raises(InputError, match="gopher://x") as caught:
        open_location("gopher://x")
    assert "\n" not in str(caught.value)


def test_an_empty_location_is_not_the_working_directory() -> None:
    for use in (open_location, resolve, for_spark):
        with pytest.raises(InputError, match="a location is empty"):
            use("")


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt.gz").write_bytes(b"\x1f\x8b\x08\x00hello")
    with pytest.raises(InputError, match=r"vocabulary '.*vocabulary.txt.gz' cannot be read"):
        read_bytes(f"{tmp_path}/vocabulary.txt.gz", "vocabulary")
