import re

import pytest

from ml_images.sample.hierarchy import CLASSES, ancestors, closed_max
from ml_images.sample.lists import Line, build, to_bytes
from ml_images.sample.plan import IM_LIST, IMAGENET, OPEN_IMAGES, URLS_AND_INDEX, Item, plan

BASE = "http://127.0.0.1:8765/"
SEED = 1
ITEMS = plan(SEED, BASE, 240)
LISTS = build(SEED, BASE, ITEMS)


def accepted(name: str) -> list[Line]:
    return [line for line in LISTS[name] if line.reason is None]


def items_of(name: str) -> dict[str, Item]:
    return {item.key: item for item in ITEMS if item.list_name == name}


@pytest.mark.parametrize("name", LISTS)
def test_every_key_has_its_rows_in_order_and_no_row_has_another_key(name: str) -> None:
    assert list(dict.fromkeys(line.key for line in accepted(name))) == list(items_of(name))


@pytest.mark.parametrize("name", LISTS)
def test_the_closed_labels_of_all_rows_of_a_key_are_those_of_its_scene(name: str) -> None:
    for key, item in items_of(name).items():
        tags = [tag for line in accepted(name) if line.key == key for tag in line.tags]
        assert set(closed_max(tags)) == set(closed_max((klass, 1.0) for klass in item.scene(SEED).classes))


@pytest.mark.parametrize("name", LISTS)
def test_the_tags_are_those_in_the_text(name: str) -> None:
    for line in accepted(name):
        fields = line.text.decode().split()
        words = fields[fields.index(line.key) + 1 :]
        assert [(int(w.partition(":")[0]), float(w.partition(":")[2] or 1)) for w in words] == list(line.tags)


def test_each_dialect_looks_like_its_model() -> None:
    shapes = {
        OPEN_IMAGES: rb"http://127\.0\.0\.1:\d+/[^\s]+(\t\d+:(1|1\.0|0\.9|0\.8))+\r?",
        IMAGENET: rb"(n\d{8})/\1_\d+\.JPEG(\t\d+:1)+",
        URLS_AND_INDEX: rb"n\d{8}_\d+\thttp://[^\s]+((\t\d+)+|(\t\d+:1)+)",
        IM_LIST: rb"\w+\.\w+(\t| {1,8})\d+:1\.0( {1,8}\d+:1\.0)+",
    }
    for name, shape in shapes.items():
        assert all(re.fullmatch(shape, line.text) for line in accepted(name)), name
    texts = [line.text for line in accepted(OPEN_IMAGES)]
    assert any(text.endswith(b"\r") for text in texts)
    assert any(b"%20" in text for text in texts)
    assert any(b"\t" in line.text for line in accepted(IM_LIST))


def test_open_images_rows_are_open_by_the_published_rule() -> None:
    lines = accepted(OPEN_IMAGES)
    is_open = [{klass for klass, _ in line.tags} != set(closed_max(line.tags)) for line in lines]
    assert 0.2 < sum(is_open) / len(lines) < 0.9  # 65 of 100 in the published sample
    for line in lines:
        classes = {klass for klass, _ in line.tags}
        for klass, confidence in line.tags:
            assert confidence in (1, 0.9, 0.8)
            if confidence == 1:
                assert set(ancestors(klass)) <= classes  # a sure tag brings all its ancestors


def test_the_first_tag_of_an_open_images_row_decides_the_confidence_of_what_it_brings() -> None:
    for line in accepted(OPEN_IMAGES):
        words = line.text.decode().split()[1:]
        first, literal = words[0].split(":")
        brought = ancestors(int(first)) if float(literal) == 1 else CLASSES[int(first)].parents
        assert words[1 : 1 + len(brought)] == [f"{klass}:{literal}" for klass in brought]
        assert len({word.split(":")[0] for word in words[: 1 + len(brought)]}) == 1 + len(brought)


def test_the_other_lists_are_closed() -> None:
    for name in (IMAGENET, URLS_AND_INDEX, IM_LIST):
        for line in accepted(name):
            assert dict(line.tags) == closed_max(line.tags)


def test_some_rows_repeat_a_class_and_some_urls_a_row() -> None:
    lines = accepted(OPEN_IMAGES)
    assert any(len({klass for klass, _ in line.tags}) < len(line.tags) for line in lines)
    keys = [line.key for line in lines]
    assert 0 < len(keys) - len(set(keys)) < 0.1 * len(keys)


def test_every_reason_to_reject_occurs_and_every_rejected_line_deserves_it() -> None:
    rejected = [line for lines in LISTS.values() for line in lines if line.reason is not None]
    assert {line.reason for line in rejected} == {
        *("blank", "no_tags", "bad_tag", "class_out_of_range", "bad_confidence", "bad_encoding")
    }
    for line in rejected:
        assert slow_reason(line.text) == line.reason, line.text
    assert all(slow_reason(line.text) is None for name in LISTS for line in accepted(name))


def slow_reason(text: bytes) -> str | None:
    """The first thing wrong with a line, read word by word."""
    try:
        words = text.decode().split()
    except UnicodeDecodeError:
        return "bad_encoding"
    if not words:
        return "blank"
    tags = words[2:] if re.fullmatch(r"n\d+_\d+", words[0]) else words[1:]
    if not tags:
        return "no_tags"
    for tag in tags:
        klass, _, confidence = tag.partition(":")
        if not klass.isdigit() or not re.fullmatch(r"(-?[\d.]+|nan)?", confidence):
            return "bad_tag"
        if int(klass) >= len(CLASSES):
            return "class_out_of_range"
        if not 0 <= float(confidence or 1) <= 1:
            return "bad_confidence"
    return None


def test_a_list_is_its_lines_each_ended() -> None:
    assert to_bytes([Line(b"a\t1"), Line(b"", reason="blank"), Line(b"b\t2\r")]) == b"a\t1\n\nb\t2\r\n"
