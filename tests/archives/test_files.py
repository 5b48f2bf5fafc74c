import os
from pathlib import Path

import pytest
from pyarrow import fs

from ml_images.archives.files import Found, list_folder, look_at
from ml_images.archives.stream import open_path


@pytest.fixture(params=["local", "any other"])
def filesystem(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[fs.FileSystem, str]:
    """(file system, where its folder of one file, one folder and one link lies); all in UTF-8."""
    (tmp_path / "in/folder").mkdir(parents=True)
    (tmp_path / "in/ö.jpg").write_bytes(b"abc")
    os.utime(tmp_path / "in/ö.jpg", ns=(5, 5))
    if request.param == "local":
        return fs.LocalFileSystem(), f"{tmp_path}/in"
    return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "in"


def test_what_is_there_is_told_alike(filesystem: tuple[fs.FileSystem, str]) -> None:
    files, folder = filesystem
    assert look_at(files, f"{folder}/ö.jpg") == Found(fs.FileType.File, 3, 5)
    assert look_at(files, f"{folder}/gone").type == fs.FileType.NotFound
    assert look_at(files, f"{folder}/ö.jpg/under").type == fs.FileType.NotFound
    found = look_at(files, folder)
    assert (found.type, found.size) == (fs.FileType.Directory, 0) and found.changed_ns > 0
    listed = {entry.name: entry for entry in list_folder(files, folder)}
    assert {name: entry.is_folder for name, entry in listed.items()} == {"folder": True, "ö.jpg": False}
    assert listed["ö.jpg"].look() == (None, 3)
    with open_path(files, f"{folder}/ö.jpg") as (file, size):
        assert (file.read(), size) == (b"abc", 3)


def test_a_date_that_no_table_holds_is_the_nearest_that_it_does(tmp_path: Path) -> None:
    """In 2514, which ext4 cuts to 2446 and others keep."""
    (tmp_path / "a").write_bytes(b"x")
    os.utime(tmp_path / "a", (1 << 34, 1 << 34))
    assert (tmp_path / "a").stat().st_mtime_ns >= 1 << 63
    assert look_at(fs.LocalFileSystem(), str(tmp_path / "a")).changed_ns == (1 << 63) - 1
