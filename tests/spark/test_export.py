from pathlib import Path

import pytest
from pyarrow import fs

from ml_images.spark import export
from ml_images.storage import tables
from ml_images.storage.paths import open_location

FILES = {"train/000000.tar": b"a", "train/000001.tar": b"b", "val/000000.tar": b"c", "vocabulary.parquet": b"d"}


def stage(root: Path) -> None:
    tables.claim(str(root), "export")
    for name, data in (FILES | {"../test/old.tar": b"old"}).items():
        (root / "_staging" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "_staging" / name).write_bytes(data)


def published(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_staged_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    stage(tmp_path)
    export.publish(str(tmp_path))
    mark = (tmp_path / "_ml_images.json").read_bytes()
    assert published(tmp_path) == FILES | {"_SUCCESS": b"", "_ml_images.json": mark}


def test_an_object_store_gets_its_files_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []

    class Store(fs.SubTreeFileSystem):
        """No local file system for those who ask, so one whose folders nobody can rename."""

        def move(self, source: str, target: str) -> None:
            moved.append(target.removeprefix(f"{str(tmp_path)[1:]}/"))
            super().move(source, target)

    def opened(location: str) -> tuple[fs.FileSystem, str]:
        return Store("/", fs.LocalFileSystem()), open_location(location)[1][1:]

    stage(tmp_path)
    for name in FILES:  # an object appears with its folders
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(export, "open_location", opened)
    monkeypatch.setattr(tables, "clear", lambda location: None)
    export.publish(str(tmp_path))
    assert sorted(moved) == sorted(FILES)
    assert FILES.items() <= published(tmp_path).items()
