import numpy as np
import pytest
import slow_parser
from hypothesis import given
from hypothesis import strategies as st

from ml_images.annotations import reasons, scanner
from ml_images.annotations.fields import is_utf8
from ml_images.annotations.rows import Parsed, parse_lines
from ml_images.annotations.take import take_rows


def of_tag(tag: bytes):
    """(class, confidence) of the tag, or the reason why it is refused: the same at the end of the data and before."""
    alone, followed = (of_first_tag(b"key " + tag + rest) for rest in (b"", b"\n" + b" " * 16))
    assert alone == followed
    return alone


def of_first_tag(data: bytes):
    parsed = parse_lines(data, source="list.txt", first_line=1, num_classes=10)
    if not len(parsed.lines):
        return parsed.rejects["reason"][0].as_py()
    (tag_class,), (confidence,) = parsed.classes.tolist(), parsed.confidences
    return tag_class, confidence


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
        (b"3:.5", (3, 0.5)),
        (b"3:1.", (3, 1.0)),
        (b"3:+1", (3, 1.0)),
        (b"3:00000000000000000000000.25", (3, 0.25)),
        (b"3:0." + b"3" * 400, (3, 1 / 3)),
        (b"3:25" + b"0" * 400 + b"e-402", (3, 0.25)),
        pytest.param(b"3:25" + b"0" * 20_000 + b"e-20002", (3, 0.25), id="20,000 zeros and 10^-20,002"),
        pytest.param(b"3:." + b"0" * 20_000 + b"25e20000", (3, 0.25), id="20,000 places and 10^20,000"),
        (b"3:1e-99999999999999999999", (3, 2.0**-149)),
        (b"3:1e-4000", (3, 2.0**-149)),  # seen, if hardly: not a verified absence
        (b"3:0e-9", (3, 0.0)),
        (b"3:0e99999999999999999999", (3, 0.0)),
        (b"3:0.0000000000000000000000000000001e31", (3, 1.0)),
        (b"0007:1", (7, 1.0)),
        (b"000", (0, 1.0)),
    ],
)
def test_accepted(tag, expected):
    assert of_tag(tag) == (expected[0], np.float32(expected[1]))


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        (b"10:1", reasons.CLASS_OUT_OF_RANGE),
        (b"9" * 5000, reasons.CLASS_OUT_OF_RANGE),
        (b"18446744073709551616", reasons.CLASS_OUT_OF_RANGE),
        (b"3:1.01", reasons.BAD_CONFIDENCE),
        (b"3:1.0000000000001", reasons.BAD_CONFIDENCE),
        (b"3:1.1", reasons.BAD_CONFIDENCE),
        (b"3:9.9", reasons.BAD_CONFIDENCE),
        (b"3:-0.5", reasons.BAD_CONFIDENCE),
        (b"3:-2", reasons.BAD_CONFIDENCE),
        (b"3:1e999", reasons.BAD_CONFIDENCE),
        (b"3:1e99999999999999999999", reasons.BAD_CONFIDENCE),
        (b"3:nan", reasons.BAD_CONFIDENCE),
        (b"3:NaN", reasons.BAD_CONFIDENCE),
        (b"3:-Inf", reasons.BAD_CONFIDENCE),
        (b"3:+infinity", reasons.BAD_CONFIDENCE),
        (b"3:", reasons.BAD_TAG),
        (b":1", reasons.BAD_TAG),
        (b"3:1:2", reasons.BAD_TAG),
        (b"3:0.9x", reasons.BAD_TAG),
        (b"3:1e", reasons.BAD_TAG),
        (b"3:1e+", reasons.BAD_TAG),
        (b"3:.", reasons.BAD_TAG),
        (b"3:-", reasons.BAD_TAG),
        (b"3:--1", reasons.BAD_TAG),
        (b"3:0.:", reasons.BAD_TAG),
        (b"3:0./", reasons.BAD_TAG),
        (b"3:/.9", reasons.BAD_TAG),
        (b"3:0,9", reasons.BAD_TAG),
        (b"3;0.9", reasons.BAD_TAG),
        (b"3:0..5", reasons.BAD_TAG),
        (b"3:nanx", reasons.BAD_TAG),
        (b"-3:1", reasons.BAD_TAG),
        (b"+3", reasons.BAD_TAG),
        (b"3:1_0", reasons.BAD_TAG),
        (b"3:0x1", reasons.BAD_TAG),
        (b"3,1", reasons.BAD_TAG),
        (b"3:1\x00", reasons.BAD_TAG),
        (b"3:1\r\r", reasons.BAD_TAG),
        ("\u0663:1".encode(), reasons.BAD_TAG),  # an Arabic three
    ],
)
def test_refused_with_the_reason(tag, reason):
    assert of_tag(tag) == reason
    assert reason in reasons.MEANINGS


def test_minus_zero_becomes_zero():
    assert str(of_tag(b"3:-0.0")[1]) == "0.0"


@given(st.floats(0, 1), st.none() | st.integers(1, 40))
def test_every_double_however_many_digits_it_has_is_its_nearest_float32_and_none_becomes_an_absence(value, digits):
    text = repr(value) if digits is None else f"{value:.{digits}f}"
    value = float(text)
    _, confidence = of_tag(f"3:{text}".encode())
    expected = max(np.float32(value), np.float32(slow_parser.SMALLEST)) if value > 0 else np.float32(0)
    assert expected == confidence or abs(int(expected.view(np.int32)) - int(confidence.view(np.int32))) == 1
    if len(text) <= 17:  # 0. and 15 digits
        assert expected == confidence


@given(st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_what_is_utf8_python_decodes(data):
    try:
        data.decode("utf-8")
        good = True
    except UnicodeDecodeError:
        good = False
    assert is_utf8(np.frombuffer(data, np.uint8), 0, len(data)) == good


PIECES = [b"k", b"http://a/b", b"n00000001_2", b"\t", b" ", b"\t", b"1", b":", b"0.5", b"-1", b"\n", b"\r\n", b"\r"]
PIECES += [b"0.9999999999999999999", b"0.95000000000000000000000", b"000000000000000000001", b"e-60"]
PIECES += [b"\xff", b"99", b"e400", b".", b"+", b"nan", b"Inf", b"100", b"\xc3\xa9", b"\xed\xa0\x80", b"e-3", b"\0"]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=60).map(b"".join))
def test_every_line_is_what_the_slow_parser_makes_of_it(data):
    assert_as_the_slow_parser(data)


def assert_as_the_slow_parser(data: bytes) -> Parsed:
    parsed = parse_lines(data, source="list.txt", first_line=1, num_classes=100)
    rows, rejects, duplicate_tags = slow_parser.parse(data, 100)
    offsets, places = take_rows(parsed.offsets, parsed.sets)
    assert parsed.keys.to_pylist() == [key for key, _ in rows]
    assert offsets.tolist() == np.cumsum([0, *(len(tags) for _, tags in rows)]).tolist()
    assert parsed.classes[places].tolist() == [c for _, tags in rows for c in tags]
    given = [confidences for _, tags in rows for confidences in tags.values()]
    assert parsed.confidences[places].tolist() == np.array([max(all_of) for all_of in given], np.float32).tolist()
    assert parsed.absent[places].tolist() == [0.0 in all_of for all_of in given]
    assert parsed.duplicate_tags == duplicate_tags
    found = [
        (row["line"], row["text"].encode() if row["raw"] is None else row["raw"], row["reason"])
        for row in parsed.rejects.to_pylist()
    ]
    assert found == rejects
    rejected = {line for line, _, _ in rejects}
    assert parsed.lines.tolist() == [n for n in range(1, parsed.num_lines + 1) if n not in rejected]
    assert set(parsed.sets.tolist()) == set(range(len(parsed.offsets) - 1))
    return parsed


KEYS = st.sampled_from([b"k", b"http://a/b", b"n00000001_2", b"n00000001_2 http://a/b", b"\xc3\xa9", b"\xff", b""])
TAGS = st.sampled_from(
    [b"1", b"1:1", b"12:0.5", b"12:0.6", b"3", b"3:0.5", b"45:1.0", b"6:-1", b"7:0.125", b"3:0", b"12:0"]
)
CHANGES = st.sampled_from([b"", b"\t", b" ", b"0", b"1", b":", b".", b"x", b"\r", b"\0", b"\x80"])
ENDS = st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r", b" \r", b"\r\r", b"\0"])


@st.composite
def repeating_lists(draw: st.DrawFn) -> bytes:
    """Few texts behind many keys; of two of them one may be the other with one byte more, less or changed."""
    texts = draw(st.lists(st.lists(TAGS, min_size=1, max_size=9).map(b"\t".join), min_size=1, max_size=3))
    for _ in range(draw(st.integers(0, 2))):
        text, at = draw(st.sampled_from(texts)), draw(st.integers(0, 30))
        texts.append(text[:at] + draw(CHANGES) + text[at + draw(st.integers(0, 1)) :])
    lines = st.tuples(KEYS, st.sampled_from([b"\t", b" ", b"  \t"]), st.sampled_from(texts), ENDS)
    data = b"\n".join(b"".join(line) for line in draw(st.lists(lines, min_size=1, max_size=12)))
    return data + draw(st.sampled_from([b"", b"\n"]))


@pytest.mark.parametrize("slots", [1, 2, 8, scanner.SLOTS])
@given(data=repeating_lists())
def test_texts_that_repeat_are_what_the_slow_parser_makes_of_each(data, slots):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "SLOTS", slots)  # few: every text meets others in its slot, and most find no place
        assert_as_the_slow_parser(data)


def test_a_row_of_more_than_a_megabyte():
    tags = b"\t".join(b"%d:0.5" % (n % 10_000) for n in range(300_000))
    parsed = parse_lines(b"k\t" + tags + b"\r\nlast 1", source="s", first_line=1, num_classes=10_000)
    assert len(tags) > 2 << 20
    assert parsed.keys.to_pylist() == ["k", "last"]
    assert parsed.offsets[parsed.sets].tolist() == [0, 10_000]
    assert parsed.offsets.tolist() == [0, 10_000, 10_001]
    assert parsed.duplicate_tags == 290_000


def test_rows_of_the_same_text_share_a_set_and_count_their_duplicates_each():
    parsed = assert_as_the_slow_parser(b"a\t1 2 2\nb x\nc 1 2 2\nd\t\t1 2 2\r\ne 1 2 2\n\xff 1 2 2\nf 1 2 2 \ng 1 2 2")
    assert parsed.sets.tolist() == [0, 0, 1, 0, 2, 0]
    assert parsed.duplicate_tags == 6
    assert parsed.num_labels == 12


def test_more_texts_than_are_remembered():
    texts = [b"%d" % c for c in range(scanner.SLOTS // 2 + 1000)]
    data = b"".join(b"k %s\n" % text for text in [*texts, *texts])
    parsed = parse_lines(data, source="s", first_line=1, num_classes=len(texts))
    classes = parsed.classes[parsed.offsets[parsed.sets]]
    assert classes.tolist() == [*range(len(texts)), *range(len(texts))]
    assert len(parsed.offsets) - 1 == len(texts) + 1000
