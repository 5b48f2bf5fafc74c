import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary, to_table

HEADER = "category_index\tcategory_id\tindex_of_parent_category\tcategory name\n"
ROWS = "0\tn1\t-1\tthing, entity\n1\tn2\t3\tdog\n2\tn3\t3,0\twater, H2O\n3\tn4\t0\tanimal\n"
EXPECTED = Vocabulary(
    ids=("n1", "n2", "n3", "n4"),
    names=(("thing", "entity"), ("dog",), ("water", "H2O"), ("animal",)),
    parents=((), (3,), (3, 0), (0,)),
)


def parse(text: str) -> Vocabulary:
    return parse_vocabulary(text.encode(), "v.txt")


def mistake_in(text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_vocabulary(text if isinstance(text, bytes) else text.encode(), "v.txt")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROWS,
        ROWS,
        ROWS.removesuffix("\n"),
        ROWS + "\n \n",
        (HEADER + ROWS).replace("\n", "\r\n"),
        "\ufeff" + HEADER + ROWS,
        "\ufeff" + ROWS.replace("\n", "\r\n"),
        ROWS.replace("3,0", "3, 0"),
    ],
)
def test_four_columns_with_and_without_header_crlf_bom_and_last_newline(text):
    assert parse(text) == EXPECTED


def test_the_first_release_has_three_columns_and_names_the_parent_by_row():
    assert parse("n1\t-1\tthing, entity\nn2\t3\tdog\nn3\t3,0\twater, H2O\nn4\t0\tanimal\n") == EXPECTED


def test_three_columns_may_name_the_parent_by_id():
    assert parse("n1\t-1\tthing, entity\nn2\tn4\tdog\nn3\tn4,n1\twater, H2O\nn4\tn1\tanimal\n") == EXPECTED


def test_a_number_is_a_row_even_where_an_id_looks_the_same():
    assert parse("1\t-1\ta\n0\t0\tb\n").parents == ((), (0,))


def test_minus_one_is_a_root_even_where_an_id_looks_the_same():
    assert parse("-1\t-1\ta\nn2\t0\tb\n").parents == ((), (0,))


def test_unicode_line_separators_do_not_end_a_line():
    assert parse("0\t/m/0a\t-1\tone\u2028two\x0bthree\x85four\n").names == (("one\u2028two\x0bthree\x85four",),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "v.txt:1: no classes"),
        (HEADER, "v.txt:2: no classes"),
        (HEADER + "0\tn1\t-1\n", "v.txt:2: expected 4 tab-separated columns"),
        ("0\tn1\t-1\ta\n1\tn2\t0\tb\tc\n", "v.txt:2: expected 4 tab-separated columns"),
        ("n1\t-1\ta\nn2\tb\n", "v.txt:2: expected 3 tab-separated columns"),
        ("0\tn1\t-1\ta\n\n1\tn2\t0\tb\n", "v.txt:2: expected 4 tab-separated columns"),
        ("0\tn1\t-1\ta\n2\tn2\t0\tb\n", "v.txt:2: category_index must be the row number 1, got '2'"),
        ("0\tn1\t-1\ta\n1\t\t0\tb\n", "v.txt:2: empty category_id"),
        ("0\tn1\t-1\ta\n1\tn2\t0\t \n", "v.txt:2: empty category name"),
        (HEADER + "0\tn1\t-1\ta\n1\tn1\t0\tb\n", "v.txt:3: duplicate category_id 'n1', first on line 2"),
        ("0\tn1\t-1\ta\n1\tn2\t0\t \n2\tn3\n", "v.txt:2: empty category name"),
        ("0\tn1\t-1\ta\n1\tn2\n2\tn3\t0\tc\td\te\n", "v.txt:2: expected 4 tab-separated columns"),
        ("0\tn1\t-1\ta\n1\tn2\t2\tb\n", "v.txt:2: parent '2' does not exist, expected a row number 0..1"),
        ("0\tn1\t-1\ta\n1\tn2\t-2\tb\n", "v.txt:2: parent '-2' does not exist"),
        ("0\tn1\t-1\ta\n1\tn2\t0,\tb\n", "v.txt:2: parent '' does not exist"),
        ("0\tn1\t-1\ta\n1\tn2\t" + "9" * 5000 + "\tb\n", "v.txt:2: parent '9999"),
        ("n1\t-1\ta\nn2\tn7\tb\n", "v.txt:2: parent 'n7' does not exist"),
        ("0\tn1\t-1\ta\n1\tn2\t-1,0\tb\n", "v.txt:2: -1 (a root) cannot stand beside"),
        ("0\tn1\t-1\ta\n1\tn2\t0,0\tb\n", "v.txt:2: n2 has the same parent twice"),
        ("0\tn1\t-1\ta\n1\tn2\t1\tb\n", "v.txt:2: n2 is its own parent"),
        (
            HEADER + "0\tn1\t-1\ta\n1\tn2\t3\tb\n2\tn3\t1\tc\n3\tn4\t2,0\td\n",
            "v.txt:3: cycle of parents: n2 -> n4 -> n3 -> n2",
        ),
        (b"0\tn1\t-1\ta\n1\tn2\t0\t\xff\n", "v.txt:2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_line(text, expected):
    assert mistake_in(text).startswith(expected)


def test_the_table_follows_the_schema_and_says_the_same():
    table = to_table(EXPECTED)
    table.validate(full=True)
    assert table.schema.equals(schemas.VOCABULARY)
    assert table["depth"].to_pylist() == [0, 2, 2, 1]
    assert table["class"].to_pylist() == list(range(len(EXPECTED.ids)))
    assert tuple(table["id"].to_pylist()) == EXPECTED.ids
    assert tuple(map(tuple, table["names"].to_pylist())) == EXPECTED.names
    assert tuple(map(tuple, table["parents"].to_pylist())) == EXPECTED.parents


@pytest.mark.real_data
def test_the_published_vocabulary(shared_data):
    data = (shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt").read_bytes()
    vocabulary = parse_vocabulary(data, "dictionary")
    assert vocabulary.num_classes == 11_166
    assert vocabulary.parents.count(()) == 4
    assert vocabulary.parents[9741] == (10348,)  # the one parent with a later row
    assert len(set(range(11_166)).difference(*vocabulary.parents)) == 9_219  # leaves
    depth = to_table(vocabulary)["depth"].to_numpy()
    assert depth.max() == 16
    assert round(depth.mean(), 5) == 7.47107
    # The same classes in the form of the first release: no header, no index.
    older = b"".join(line.split(b"\t", 1)[1] for line in data.splitlines(keepends=True)[1:])
    assert parse_vocabulary(older, "dictionary") == vocabulary
