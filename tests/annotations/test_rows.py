import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.annotations import reasons
from ml_images.annotations.rows import Parsed, line_bytes, line_texts, parse_lines
from ml_images.annotations.take import take_rows

Rows = list[tuple[str, list[tuple[int, float]]]]


def parse(data: bytes, first_line: int = 1) -> Parsed:
    return parse_lines(data, source="list.txt", first_line=first_line, num_classes=100)


def rows(parsed: Parsed) -> Rows:
    assert (parsed.offsets.dtype, parsed.classes.dtype, parsed.confidences.dtype) == (np.int64, np.int32, np.float32)
    assert len(parsed.sets) == len(parsed.keys)
    assert parsed.offsets[-1] == len(parsed.classes) == len(parsed.confidences)
    labels = list(zip(parsed.classes.tolist(), parsed.confidences.tolist(), strict=True))
    sets = [labels[start:end] for start, end in itertools.pairwise(parsed.offsets)]
    found = [(key, sets[number]) for key, number in zip(parsed.keys.to_pylist(), parsed.sets, strict=True)]
    assert parsed.num_labels == sum(len(labels) for _, labels in found)
    return found


def rejected(parsed: Parsed) -> list[tuple[int, str, str]]:
    parsed.rejects.validate(full=True)
    assert parsed.rejects.schema.equals(schemas.REJECTS)
    return [(reject["line"], reject["text"], reject["reason"]) for reject in parsed.rejects.to_pylist()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"https://a/b.jpg\t7:1\t3:0.5", ("https://a/b.jpg", [(7, 1.0), (3, 0.5)])),
        (b"http://a/b.jpg  7:1        3:0.5", ("http://a/b.jpg", [(7, 1.0), (3, 0.5)])),
        (b"n04310904/n04310904_8388.JPEG 7 3:0.5 ", ("n04310904/n04310904_8388.JPEG", [(7, 1.0), (3, 0.5)])),
        (b" \tim_0.jpeg \t 7:1.0\t\t 3:-1", ("im_0.jpeg", [(7, 1.0), (3, -1.0)])),
        (b"n03874293_7679 http://a/b.jpg 7 3:0", ("http://a/b.jpg", [(7, 1.0), (3, 0.0)])),
        (b"n03874293_7679\thttps://a/b.jpg\t7", ("https://a/b.jpg", [(7, 1.0)])),
        (b"n03874293_7679\t7", ("n03874293_7679", [(7, 1.0)])),
        ("http://a/für\u00a0dich.jpg 7".encode(), ("http://a/für\u00a0dich.jpg", [(7, 1.0)])),
        (b"a\x0bb\x0cc 7", ("a\x0bb\x0cc", [(7, 1.0)])),
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_every_dialect_of_a_label_row(line, end, expected):
    parsed = parse(line + end)
    assert rows(parsed) == [expected]
    assert rejected(parsed) == []


@pytest.mark.parametrize(
    ("line", "text", "reason"),
    [
        (b"", "", reasons.BLANK),
        (b" \t ", " \t ", reasons.BLANK),
        (b"http://a/b.jpg", "http://a/b.jpg", reasons.NO_TAGS),
        (b"n03874293_7679 http://a/b.jpg", "n03874293_7679 http://a/b.jpg", reasons.NO_TAGS),
        (b"http://a/my photo.jpg 7", "http://a/my photo.jpg 7", reasons.BAD_TAG),
        (b"k http://a/b.jpg 7", "k http://a/b.jpg 7", reasons.BAD_TAG),
        (b"n03874293_7679 a/b.jpg 7", "n03874293_7679 a/b.jpg 7", reasons.BAD_TAG),
        (b"k 7 8:\r 9", "k 7 8:\r 9", reasons.BAD_TAG),
        (b"k 7 100", "k 7 100", reasons.CLASS_OUT_OF_RANGE),
        (b"k 7 8:2", "k 7 8:2", reasons.BAD_CONFIDENCE),
        (b"k 8:nan x", "k 8:nan x", reasons.BAD_CONFIDENCE),  # the first bad tag names the reason
        (b"k\xff 7", "k\\xff 7", reasons.BAD_ENCODING),
        (b"k 7\xe9", "k 7\\xe9", reasons.BAD_ENCODING),
        (b"k\xed\xa0\x80 7", "k\\xed\\xa0\\x80 7", reasons.BAD_ENCODING),  # a lone surrogate
    ],
)
def test_a_line_that_is_no_label_row_is_rejected_with_its_reason(line, text, reason):
    parsed = parse(b"first 1\r\n" + line + b"\r\nlast 2")
    assert [key for key, _ in rows(parsed)] == ["first", "last"]
    assert rejected(parsed) == [(2, text, reason)]
    assert parsed.rejects["source"].to_pylist() == ["list.txt"]
    raw = line if reason == reasons.BAD_ENCODING else None  # byte for byte where the text cannot be
    assert parsed.rejects["raw"].to_pylist() == [raw]


def test_a_rejected_row_leaves_nothing_behind_in_its_neighbours():
    assert rows(parse(b"a 1 2\nb 3 4 x\nc 5\n")) == [("a", [(1, 1.0), (2, 1.0)]), ("c", [(5, 1.0)])]


def test_nothing_in_nothing_out():
    parsed = parse(b"")
    assert rows(parsed) == []
    assert rejected(parsed) == []


def test_line_numbers_go_on_from_the_piece_before():
    assert rejected(parse(b"a 1\nb\n\n", first_line=41)) == [(42, "b", reasons.NO_TAGS), (43, "", reasons.BLANK)]


def test_a_byte_order_mark_is_dropped_at_the_very_start_only():
    assert parse(b"\xef\xbb\xbfa 1\n").keys.to_pylist() == ["a"]
    assert parse(b"\xef\xbb\xbfa 1\n", first_line=2).keys.to_pylist() == ["\ufeffa"]


def test_a_class_given_twice_keeps_its_place_and_its_highest_confidence():
    parsed = parse(b"a 3:0.5 7:-1 3:0.75 7:0 3\nb 7 3\nc 3:0.5 3:0.5 1\n")
    assert rows(parsed) == [("a", [(3, 1.0), (7, 0.0)]), ("b", [(7, 1.0), (3, 1.0)]), ("c", [(3, 0.5), (1, 1.0)])]
    assert parsed.duplicate_tags == 4


def test_that_a_row_also_says_absent_is_kept_and_a_rejected_row_says_nothing():
    parsed = parse(b"a 3:0.5 7:0 3:0 7:-1 5\nb 5:0 5:2\nc 3:0 5 3:0.25\nd 5:0\n")
    labels = [(3, 0.5), (7, 0.0), (5, 1.0)], [(3, 0.25), (5, 1.0)], [(5, 0.0)]
    assert rows(parsed) == list(zip("acd", labels, strict=True))
    assert parsed.absent.tolist() == [1, 1, 0, 1, 0, 1]


def test_rows_without_duplicates_count_none():
    assert parse(b"a 3 7\nb 3 7\n").duplicate_tags == 0


pieces = st.sampled_from(
    [
        b"k",
        b"http://a/b",
        b"n00000001_2",
        b"\t",
        b" ",
        b"1",
        b":",
        b"0.5",
        b"-1",
        b"\n",
        b"\r\n",
        b"\xff",
        b"99",
        b"e400",
    ]
)


@given(st.lists(pieces | st.binary(max_size=4), max_size=60).map(b"".join))
def test_every_line_is_a_label_row_or_a_reject(data):
    parsed = parse(data, first_line=5)
    lines = data.split(b"\n")[: None if not data.endswith(b"\n") else -1] if data else []
    assert len(rows(parsed)) + len(rejected(parsed)) == len(lines)
    numbers = [line for line, _, _ in rejected(parsed)]
    assert numbers == sorted(set(numbers))
    for number, text, reason in rejected(parsed):
        assert reason in reasons.MEANINGS
        if reason != reasons.BAD_ENCODING:
            assert text.encode() == lines[number - 5].removesuffix(b"\r")
    assert ((parsed.classes >= 0) & (parsed.classes < 100)).all()
    assert ((parsed.confidences == -1) | ((parsed.confidences >= 0) & (parsed.confidences <= 1))).all()
    assert all(len(labels) == len({c for c, _ in labels}) > 0 for _, labels in rows(parsed))


labels = st.tuples(st.integers(0, 99), st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(0, 1, width=32))
keys = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\t \ufeff"), min_size=1)
separators = st.text(" \t", min_size=1, max_size=4)


@given(st.lists(st.tuples(keys, st.lists(labels, min_size=1, max_size=5, unique_by=lambda label: label[0]))), st.data())
def test_what_is_written_as_rows_is_read_back(written, data):
    text = ""
    for key, row in written:
        text += key
        for c, confidence in row:
            text += f"{data.draw(separators)}{c}:{confidence!r}"
        text += data.draw(st.sampled_from(["\n", "\r\n"]))
    parsed = parse(text.encode())
    assert rejected(parsed) == []
    assert rows(parsed) == written


@given(st.lists(st.sampled_from([b"a 1 2:0.5", b"b", b"", b"c 3 3", b"d 1:2"]), max_size=8), st.integers(0, 8))
def test_a_list_cut_between_lines_gives_the_same_as_the_whole(lines, cut):
    cut = min(cut, len(lines))
    whole = parse(b"".join(line + b"\n" for line in lines))
    head = parse(b"".join(line + b"\n" for line in lines[:cut]))
    tail = parse(b"".join(line + b"\n" for line in lines[cut:]), first_line=cut + 1)
    assert rows(head) + rows(tail) == rows(whole)
    assert rejected(head) + rejected(tail) == rejected(whole)
    assert head.duplicate_tags + tail.duplicate_tags == whole.duplicate_tags


@pytest.mark.real_data
def test_the_published_rows_and_image_lists(shared_data):
    folder = shared_data / "ml-images"
    names = ["train_urls_tiny.txt", "train_im_list_tiny.txt"]
    urls, images = (
        parse_lines((folder / name).read_bytes(), source=name, first_line=1, num_classes=11_166) for name in names
    )
    for parsed in (urls, images):
        offsets, places = take_rows(parsed.offsets, parsed.sets)
        assert (len(parsed.keys), parsed.num_labels, parsed.rejects.num_rows) == (100, 827, 0)
        assert len(set(parsed.classes.tolist())) == 225
        assert np.diff(offsets).min() == 2
        assert np.diff(offsets).max() == 28
        _, counts = np.unique(parsed.confidences[places], return_counts=True)
        assert counts.tolist() == [173, 135, 519]  # 0.8, 0.9, and 1 in both spellings
        assert parsed.duplicate_tags == 0
    assert urls.keys[0].as_py() == "https://farm2.staticflickr.com/2034/1557324960_1ae893fed8_o.jpg"
    assert rows(urls)[1][1] == [(4767, float(np.float32(0.9))), (4765, float(np.float32(0.9)))]


def test_the_text_of_rows_by_their_line():
    data = line_bytes(b"\xef\xbb\xbfa 1\r\n\n\xff\nb\t2\nc 3", 1)
    assert line_texts(data, np.array([3, 0, 4])) == ["b\t2", "a 1", "c 3"]
