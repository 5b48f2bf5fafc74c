import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, UnidentifiedImageError

from ml_images.errors import InputError
from ml_images.sample.plan import BROKEN
from ml_images.sample.world import write

BASE = "http://127.0.0.1:8765/"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others(world: Any, tmp_path: Path) -> None:
    first = digests(world.folder)
    returned = write(tmp_path / "again", 7, world.server.url.rstrip("/"), 64)
    assert digests(tmp_path / "again") == first
    assert returned == world.expected

    write(tmp_path / "again", 8, world.server.url, 64)  # a sample world, so it may be written over
    other = digests(tmp_path / "again")
    pictures = {name for name in first if name.startswith("pictures/im_")}
    assert len(pictures) == 9
    assert not any(first[name] == other[name] for name in pictures)
    assert first["lists/train_im_list.txt"] != other["lists/train_im_list.txt"]
    assert json.loads((tmp_path / "again" / "expected.json").read_bytes())["seed"] == 8


def test_every_line_of_every_list_is_accounted_for(world: Any) -> None:
    for name, counts in world.expected["lists"].items():
        lines = (world.folder / "lists" / name).read_bytes().split(b"\n")
        assert lines.pop() == b""
        rejected = {entry["line"]: entry["reason"] for entry in counts["rejected_lines"]}
        assert len(lines) == counts["lines"] == counts["accepted"] + len(rejected)
        assert sum(counts["rejects"].values()) == len(rejected)
        for number, line in enumerate(lines, 1):
            known = any(word in world.expected["keys"] for word in line.decode("utf-8", "replace").split())
            assert known == (number not in rejected), line


def test_totals_are_the_sums_of_the_parts(world: Any) -> None:
    expected = world.expected
    assert (expected["seed"], expected["images"], expected["base_url"]) == (7, 64, world.server.url)
    assert expected["lines"] == sum(counts["lines"] for counts in expected["lists"].values())
    assert expected["lines"] == expected["accepted"] + sum(expected["rejects"].values())
    assert expected["distinct_keys"] == len(expected["keys"]) == sum(expected["outcomes"].values())
    assert expected["outcomes"]["ok"] == 64 + 4  # four faults pass when a client is patient


def test_every_good_picture_decodes_at_its_expected_size_and_the_broken_ones_do_not(world: Any) -> None:
    for value in world.expected["keys"].values():
        path = world.folder / "pictures" / value["picture"]
        if value["picture"] in BROKEN and value["outcome"] != "too_small":
            with pytest.raises((UnidentifiedImageError, OSError)), Image.open(path) as image:
                image.load()
        elif value["outcome"] == "ok":
            with Image.open(path) as image:
                image.load()
                quarter_turn = image.getexif().get(0x0112, 1) >= 5
            assert (image.size[::-1] if quarter_turn else image.size) == (value["width"], value["height"])


def test_every_class_is_a_label_of_some_good_picture(world: Any) -> None:
    good = [value["classes"] for value in world.expected["keys"].values() if value["outcome"] == "ok"]
    assert {klass for classes in good for klass in classes} == set(range(world.expected["classes"]))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that are no sample world"):
        write(tmp_path, 1, BASE, 64)
    with pytest.raises(InputError, match="is a file"):
        write(tmp_path / "deep" / "thesis.txt", 1, BASE, 64)
    assert digests(tmp_path).keys() == {"deep/thesis.txt"}
