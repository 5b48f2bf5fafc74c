import pytest

from ml_images.annotations import reasons
from ml_images.annotations.tags import BadTag, Tags, parse_tag


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (b"7", (7, 1.0)),
        (b"7:1", (7, 1.0)),
        (b"7:1.0", (7, 1.0)),
        (b"0:0.9", (0, 0.9)),
        (b"9:0", (9, 0.0)),
        (b"9:-1", (9, -1.0)),
        (b"9:-1.0", (9, -1.0)),
        (b"9:8e-1", (9, 0.8)),
        (b"9:0.5E+0", (9, 0.5)),
        (b"0007:1", (7, 1.0)),
        (b"000", (0, 1.0)),
    ],
)
def test_accepted(tag, expected):
    assert parse_tag(tag, 10) == expected


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        (b"10:1", reasons.CLASS_OUT_OF_RANGE),
        (b"9" * 5000, reasons.CLASS_OUT_OF_RANGE),
        (b"18446744073709551616", reasons.CLASS_OUT_OF_RANGE),
        (b"3:1.01", reasons.BAD_CONFIDENCE),
        (b"3:1.0000000000001", reasons.BAD_CONFIDENCE),
        (b"3:-0.5", reasons.BAD_CONFIDENCE),
        (b"3:-2", reasons.BAD_CONFIDENCE),
        (b"3:1e999", reasons.BAD_CONFIDENCE),
        (b"3:nan", reasons.BAD_CONFIDENCE),
        (b"3:-Inf", reasons.BAD_CONFIDENCE),
        (b"3:", reasons.BAD_TAG),
        (b":1", reasons.BAD_TAG),
        (b"3:1:2", reasons.BAD_TAG),
        (b"3:.5", reasons.BAD_TAG),
        (b"3:5.", reasons.BAD_TAG),
        (b"3:+1", reasons.BAD_TAG),
        (b"-3:1", reasons.BAD_TAG),
        (b"+3", reasons.BAD_TAG),
        (b"3:1_0", reasons.BAD_TAG),
        (b"3,1", reasons.BAD_TAG),
        (b"3:1\n", reasons.BAD_TAG),
        (b"3:1\r", reasons.BAD_TAG),
        ("\u0663:1".encode(), reasons.BAD_TAG),  # an Arabic three
        (b"", reasons.BAD_TAG),
    ],
)
def test_refused_with_the_reason(tag, reason):
    with pytest.raises(BadTag) as caught:
        parse_tag(tag, 10)
    assert caught.value.reason == reason
    assert reason in reasons.MEANINGS


def test_minus_zero_becomes_zero():
    assert str(parse_tag(b"3:-0.0", 10)[1]) == "0.0"


def test_each_distinct_tag_has_one_number():
    tags = Tags(10)
    assert [tags[tag] for tag in (b"7:1", b"3", b"7:1", b"7:1.0")] == [0, 1, 0, 2]
    assert tags.classes == [7, 3, 7]
    assert tags.confidences == [1.0, 1.0, 1.0]


def test_a_refused_tag_takes_no_number():
    tags = Tags(10)
    for _ in range(2):
        with pytest.raises(BadTag):
            tags[b"10"]
    assert tags[b"9"] == 0
