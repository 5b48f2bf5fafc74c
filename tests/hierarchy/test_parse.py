import json

import pytest
from hierarchies import mistake_in
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.hierarchy import parse as parse_module
from ml_images.hierarchy.names import parse_names
from ml_images.hierarchy.parse import parse_hierarchy
from ml_images.hierarchy.vocabulary import Vocabulary, to_table

# thing > animal > dog in every form
TENCENT = "0\ta\t-1\tthing\n1\tb\t0\tanimal\n2\tc\t1\tdog, domestic dog\n"
OLDER = "a\t-1\tthing\nb\ta\tanimal\nc\tb\tdog, domestic dog\n"
INDENTED = "a\n\n-- b\n---- c\n"
OPENIMAGES = json.dumps({"LabelName": "a", "Subcategory": [{"LabelName": "b", "Subcategory": [{"LabelName": "c"}]}]})
WORDNET = (
    "  1 licence\n"
    "00000001 03 n 01 a 0 000 | a  \n"
    "00000002 03 n 01 b 0 001 @ 00000001 n 0000 | b  \n"
    "00000003 03 n 01 c 0 001 @ 00000002 n 0000 | c  \n"
)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (TENCENT, "tencent"),
        ("category_index\tcategory_id\tindex_of_parent_category\tcategory name\n" + TENCENT, "tencent"),
        (OLDER, "tencent"),
        (INDENTED, "indented"),
        ("\n" + INDENTED, "indented"),
        ("a b c\nd e\n-- f\n", "indented"),
        (OPENIMAGES, "openimages"),
        ("\ufeff\n  " + OPENIMAGES, "openimages"),
        (WORDNET, "wordnet"),
        (WORDNET.split("\n", 1)[1], "wordnet"),
    ],
)
def test_the_form_is_recognised_by_the_content(text, format):
    found = parse_hierarchy(text.encode(), "h")
    assert found == parse_hierarchy(text.encode(), "h", format)
    assert len(found.ids) >= 3


@pytest.mark.parametrize("text", ["1 0\n2 0\n", "a\tb\n", "\r\n big animal\tdog\n"])
def test_pairs_are_not_guessed(text):
    message = mistake_in(parse_hierarchy, text)
    assert message.startswith("h.txt: pairs of ids do not show which is the parent; say vocabulary_format=parent_child")
    assert "vocabulary_format=child_parent" in message


@pytest.mark.parametrize(("text", "start"), [("", "h.txt:1: no classes"), ("  \n", "h.txt:1: no classes")])
def test_nothing_is_no_hierarchy(text, start):
    assert mistake_in(parse_hierarchy, text).startswith(start)


def test_what_is_not_recognised_names_the_forms():
    message = mistake_in(parse_hierarchy, "one\ntwo\n")
    assert message.startswith("h.txt: no form of a hierarchy is recognised")
    assert "tencent, parent_child, child_parent, indented, openimages, wordnet" in message


def test_both_kinds_of_pairs():
    assert parse_hierarchy(b"a b\nb c\n", "h", "parent_child").parents == ((), (0,), (1,))
    assert parse_hierarchy(b"a b\nb c\n", "h", "child_parent").parents == ((1,), (2,), ())


@pytest.mark.parametrize("text", [TENCENT, OLDER, INDENTED, OPENIMAGES, WORDNET])
def test_every_form_says_the_same(text):
    found = parse_hierarchy(text.encode(), "h")
    assert found.parents == ((), (0,), (1,))
    assert found.ids in [("a", "b", "c"), ("n00000001", "n00000002", "n00000003")]


def test_names_replace_those_in_the_file_and_the_others_stay():
    found = parse_hierarchy(TENCENT.encode(), "h", names={"b": "beast, animal", "unused": "x"})
    assert found.names == (("thing",), ("beast, animal",), ("dog", "domestic dog"))
    assert parse_hierarchy(b"1 0\n", "h", "child_parent", {"0": "top"}).names == (("top",), ("1",))


@pytest.mark.parametrize(("names", "shown"), [({"n7": "x", "n8": "y"}, "2 names"), ({}, "0 names")])
def test_names_of_other_classes_are_a_mistake(names, shown):
    with pytest.raises(InputError, match=rf"^h: none of the {shown} belongs to a class: they are for ids as 'n"):
        parse_hierarchy(TENCENT.encode(), "h", names=names)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"format must be one of auto, tencent, .*, got 'owl'"):
        parse_hierarchy(b"a b\n", "h", "owl")


FORMATS = ["auto", *parse_module._PARSERS]
SEPARATORS = ["\n", "\n", "\t", "\t", " ", ",", "\r", "\x00", "\u2028"]
FRAGMENTS = [
    "a",
    "b",
    "0",
    "1",
    "-1",
    "é",
    "-- ",
    "---- ",
    "category_index\t",
    "00000001 03 n 01 a 0 ",
    "001 @ ",
    " n 0000",
]
JSON_FRAGMENTS = ['{"LabelName": ', '"a"', ', "Subcategory": [', "]", "}"]
pieces = st.sampled_from([*SEPARATORS, *FRAGMENTS, *JSON_FRAGMENTS])


@st.composite
def damaged(draw) -> bytes:
    """A good file of any form with a few pieces put in or in the place of others."""
    text = draw(st.sampled_from([TENCENT, OLDER, INDENTED, OPENIMAGES, WORDNET, "a b\nb c\n", "1 0\n2\t1\n"]))
    for piece in draw(st.lists(pieces, max_size=3)):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + piece + text[start + draw(st.integers(0, 3)) :]
    return text.encode()


@settings(max_examples=300)
@given(
    st.sampled_from(FORMATS),
    st.binary(max_size=60) | st.lists(pieces, max_size=40).map("".join).map(str.encode) | damaged(),
)
def test_whatever_comes_is_a_hierarchy_or_one_line(format, data):
    try:
        found = parse_hierarchy(data, "h", format)
    except InputError as error:
        assert str(error).startswith("h:")
        assert len(str(error).splitlines()) == 1
    else:
        assert isinstance(found, Vocabulary)
        assert len(set(found.ids)) == found.num_classes > 0
        to_table(found).validate(full=True)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "num_classes"),
    [
        ("ml-images/dictionary_and_semantic_hierarchy.txt", 11_166),
        ("openimages/v4_2018_04/bbox_labels_600_hierarchy.json", 602),
        ("hierarchies/cifar.indented.txt", 163),
        ("hierarchies/cub_balanced.indented.txt", 421),
    ],
)
def test_published_files_are_recognised(shared_data, file, num_classes):
    assert parse_hierarchy((shared_data / file).read_bytes(), file).num_classes == num_classes


@pytest.mark.real_data
def test_classes_of_cifar_have_their_published_names(shared_data):
    folder = shared_data / "hierarchies"
    names = parse_names((folder / "cifar.class_names.txt").read_bytes(), "names")
    data = (folder / "cifar.parent-child.txt").read_bytes()
    found = parse_hierarchy(data, "cifar", "parent_child", names)
    assert (found.ids[0], found.names[0]) == ("0", ("apple",))
    assert found.names[found.parents[0][0]] == ("pome",)
