import numpy as np
import pytest

from ml_images.annotations import reasons
from ml_images.annotations.rows import parse_lines
from ml_images.sample.full_scale.chance import stream_key
from ml_images.sample.full_scale.dialect import ODD, PLAIN, Dialect, malformed
from ml_images.sample.full_scale.draw import Tags
from ml_images.sample.full_scale.text import Writer, texts

NUM_CLASSES = 12
DIALECTS = (PLAIN, *malformed(NUM_CLASSES), *ODD)
KEY = b"https://farm2.staticflickr.com/1_o.jpg"
TAGS = Tags(np.array([0, 4]), np.array([11, 7, 3, 10], np.int32), np.array([0, 1, 2, 3], np.uint8))


def line(dialect: Dialect) -> bytes:
    number = np.array([DIALECTS.index(dialect)])
    return Writer(DIALECTS, NUM_CLASSES).lines(texts([KEY]), TAGS, number, stream_key(1, ""), 0).tobytes()


def test_every_reason_that_a_line_itself_can_give_occurs() -> None:
    given = {dialect.reason for dialect in malformed(NUM_CLASSES)}
    assert given == set(reasons.MEANINGS) - {reasons.DUPLICATE_KEY}  # that one is a matter of two lines


@pytest.mark.parametrize("dialect", malformed(NUM_CLASSES), ids=lambda dialect: dialect.name)
def test_a_malformed_line_is_rejected_for_its_reason(dialect: Dialect) -> None:
    parsed = parse_lines(line(dialect), source="s", first_line=1, num_classes=NUM_CLASSES)
    assert len(parsed.keys) == 0
    assert parsed.rejects.column("reason").to_pylist() == [dialect.reason]


@pytest.mark.parametrize("dialect", (PLAIN, *ODD), ids=lambda dialect: dialect.name)
def test_an_odd_line_says_what_the_plain_one_says(dialect: Dialect) -> None:
    parsed = parse_lines(line(dialect), source="s", first_line=1, num_classes=NUM_CLASSES)
    assert [str(key) for key in parsed.keys] == [KEY.decode()]
    assert parsed.classes.tolist() == [11, 7, 3, 10]
    assert parsed.confidences.tolist() == np.array([1, 1, 0.9, 0.8], np.float32).tolist()
    assert parsed.rejects.num_rows == 0


def test_the_plain_line_is_the_published_form_and_the_odd_ones_are_odd() -> None:
    assert line(PLAIN) == KEY + b"\t11:1\t7:1.0\t3:0.9\t10:0.8\n"
    assert len({line(dialect) for dialect in DIALECTS}) == len(DIALECTS)
    by_name = {dialect.name: line(dialect) for dialect in ODD}
    assert by_name["no confidence"] == KEY + b"\t11\t7\t3:0.9\t10:0.8\n"
    assert by_name["CRLF"].endswith(b"0.8\r\n")
    assert b"\t" not in by_name["runs of spaces"]
    assert b"\t " in by_name["tab and spaces"]
