import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_images.annotations.rows import parse_lines
from ml_images.annotations.take import take_rows
from ml_images.errors import InputError
from ml_images.hierarchy.ancestors import find_ancestors
from ml_images.hierarchy.closure import close_labels
from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary
from ml_images.sample.full_scale import write
from ml_images.sample.full_scale.curve import published_counts
from ml_images.sample.full_scale.write import split, write_lists
from ml_images.sample.hierarchy import vocabulary_text
from ml_images.sample.plan import IMAGENET, OPEN_IMAGES

WORLD = parse_vocabulary(vocabulary_text().encode(), "vocabulary")


def made(folder: Path, rows: int, seed: int = 1, **options: Any) -> dict[str, Any]:
    return write_lists(folder, WORLD, rows, seed, published_counts(), **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("rows", "imagenet"), [(1, 1), (2, 1), (3, 2), (10, 6), (1_000, 608), (17_609_752, 10_706_941)]
)
def test_rows_are_shared_out_as_the_published_ones(rows: int, imagenet: int) -> None:
    assert split(rows) == {IMAGENET: imagenet, OPEN_IMAGES: rows - imagenet}


def test_the_same_bytes_from_any_number_of_processes_and_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "whole", 3_000, malformed=0.05)
    monkeypatch.setattr(write, "BLOCK_ROWS", 700)
    made(tmp_path / "blocks", 3_000, malformed=0.05)
    made(tmp_path / "processes", 3_000, malformed=0.05, processes=2)
    whole = contents(tmp_path / "whole")
    assert set(whole) == {IMAGENET, OPEN_IMAGES, "expected.json"}
    assert contents(tmp_path / "blocks") == contents(tmp_path / "processes") == whole


def test_a_longer_list_begins_with_the_shorter_one_and_another_seed_makes_another(tmp_path: Path) -> None:
    for name, rows, seed in (("short", 200, 1), ("long", 500, 1), ("other", 200, 2)):
        made(tmp_path / name, rows, seed)
    short, long, other = (contents(tmp_path / name) for name in ("short", "long", "other"))
    for name in (IMAGENET, OPEN_IMAGES):
        assert long[name].startswith(short[name])
        assert not set(other[name].splitlines()) >= set(short[name].splitlines())


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_few_rows_are_possible(rows: int, tmp_path: Path) -> None:
    made(tmp_path, rows)
    assert sum(contents(tmp_path)[name].count(b"\n") for name in (IMAGENET, OPEN_IMAGES)) == rows


@pytest.mark.parametrize("malformed", [0.0, 0.1])
def test_a_reader_finds_what_expected_json_says(malformed: float, tmp_path: Path) -> None:
    returned = made(tmp_path, 4_000, malformed=malformed)
    expected = json.loads((tmp_path / "expected.json").read_bytes())
    assert expected == returned
    ancestors = find_ancestors(WORLD.parents)
    keys: list[str] = []
    for name in (IMAGENET, OPEN_IMAGES):
        data = (tmp_path / name).read_bytes()
        parsed = parse_lines(data, source=name, first_line=1, num_classes=WORLD.num_classes)
        offsets, places = take_rows(parsed.offsets, parsed.sets)
        classes, confidences = parsed.classes[places], parsed.confidences[places]
        closed = close_labels(offsets, classes, confidences, ancestors, "closed_max")
        told = expected["lists"][name]
        assert parsed.duplicate_tags == 0
        assert (len(data), len(data.splitlines())) == (told["bytes"], told["lines"])
        assert (len(parsed.keys), len(classes), len(closed.classes)) == (
            *(told["accepted"], told["labels"], told["closed_max"]["labels"]),
        )
        assert Counter(parsed.rejects.column("reason").to_pylist()) == Counter(told["rejects"])
        assert np.bincount(classes, minlength=WORLD.num_classes).tolist() == told["images_per_class"]
        images = np.bincount(closed.classes, minlength=WORLD.num_classes).tolist()
        assert images == told["closed_max"]["images_per_class"]
        spelled = Counter[float]()
        for literal, count in told["confidences"].items():
            spelled[float(np.float32(literal))] += count
        assert Counter(confidences.tolist()) == spelled
        keys += [str(key) for key in parsed.keys]
    assert len(set(keys)) == len(keys) == expected["accepted"]
    assert_sums(expected, expected["lists"].values())
    bad, odd = (sum(expected[kind].values()) for kind in ("rejects", "odd"))
    assert bad == pytest.approx(4_000 * malformed, abs=80)
    assert odd == pytest.approx(4_000 * malformed, abs=80)
    assert all(expected["rejects"].values()) == all(expected["odd"].values()) == bool(malformed)


def assert_sums(whole: dict[str, Any], lists: Iterable[dict[str, Any]]) -> None:
    for name in ("lines", "accepted", "labels"):
        assert whole[name] == sum(each[name] for each in lists)
    for name in ("rejects", "odd", "confidences"):
        assert Counter(whole[name]) == sum((Counter(each[name]) for each in lists), Counter())
    assert whole["images_per_class"] == np.sum([each["images_per_class"] for each in lists], axis=0).tolist()


def test_imagenet_rows_are_closed_and_begin_with_the_class_of_their_folder(tmp_path: Path) -> None:
    made(tmp_path, 500)
    ancestors = find_ancestors(WORLD.parents)
    for line in (tmp_path / IMAGENET).read_text().splitlines():
        key, *tags = line.split("\t")
        classes = [int(tag.removesuffix(":1")) for tag in tags]
        first = classes[0]
        above = ancestors.indices[ancestors.indptr[first] : ancestors.indptr[first + 1]]
        assert key.split("/")[0] == WORLD.ids[first]
        assert sorted(classes[1:]) == sorted(above.tolist())


def test_a_single_class_is_a_vocabulary_too(tmp_path: Path) -> None:
    expected = write_lists(tmp_path, Vocabulary(("/m/0",), (("thing",),), ((),)), 50, 1, published_counts())
    assert expected["images_per_class"] == [50]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt, which is no list of ours"):
        made(tmp_path, 10)
    with pytest.raises(InputError, match=r"notes\.txt is a file; give a folder"):
        made(tmp_path / "notes.txt", 10)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_lists_of_ours_are_written_over(tmp_path: Path) -> None:
    made(tmp_path / "again", 500)
    made(tmp_path / "again", 20)
    made(tmp_path / "fresh", 20)
    assert contents(tmp_path / "again") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interruption_leaves_no_list(processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, 20)
    monkeypatch.setattr(write, "BLOCK_ROWS", 100)
    calls = iter(range(100))

    def interrupted(*_: object) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(write.tqdm, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, 2_000, processes=processes)
    left = contents(tmp_path)
    assert set(left) == {IMAGENET, OPEN_IMAGES}  # the old ones: whole, but no longer described
    assert left[IMAGENET].count(b"\n") == 12
