import pytest
from hierarchies import dags, mistake_in, named_relations
from hypothesis import given

from ml_images.hierarchy.formats.wordnet import parse_wordnet

# By the manual page wndb(5WN); the offsets are made up.
LICENCE = "  1 This is the licence of the data base.  \n  2 00000000 03 n 01 none 0 000 | it is no synset.  \n"
ENTITY = "00001740 03 n 01 entity 0 002 ~ 00001930 n 0000 ~ 00002000 n 0000 | that which is  \n"
DOG = "00001930 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 00002000 n 0000 @ 00001740 n 0000 | a @ 1 | b\n"
ANIMAL = "00002000 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 1 j b 001 @ 00001740 n 0000 | ten words\n"
LAIKA = "00003000 05 n 01 Laika 0 002 @i 00001930 n 0000 ;c 00009999 n 0000 | she flew\n"


def test_hypernyms_and_instance_hypernyms_are_parents_and_words_are_names():
    found = parse_wordnet((LICENCE + ENTITY + DOG + ANIMAL + LAIKA).encode(), "data.noun")
    assert found.ids == ("n00001740", "n00001930", "n00002000", "n00003000")
    assert found.names[:2] == (("entity",), ("dog", "domestic dog", "Canis familiaris"))
    assert found.names[2] == tuple("abcdefghij")
    assert found.parents == ((), (2, 0), (0,), (1,))


def test_without_licence_gloss_and_pointers():
    assert parse_wordnet(b"00001740 03 n 01 entity 0 000\n", "data.noun").ids == ("n00001740",)


def test_a_pointer_given_twice_counts_once():
    twice = LAIKA.replace("002 @i", "003 @ 00001740 n 0000 @i").replace(";c 00009999", "@ 00001740")
    assert parse_wordnet((ENTITY + DOG + ANIMAL + twice).encode(), "data.noun").parents[3] == (0, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LICENCE, "h.txt:1: no synsets"),
        (LICENCE + ENTITY + "entity\n", "h.txt:4: expected a synset (offset, file number, n, number of words"),
        (LICENCE + ENTITY + ANIMAL.replace("00002000 03 n", "00002000 29 v"), "h.txt:4: expected noun synsets"),
        (ENTITY + ENTITY, "h.txt:2: synset 00001740 is repeated, first on line 1"),
        (LICENCE + ENTITY + LAIKA, "h.txt:4: hypernym 00001930 of synset 00003000 is not in the file"),
        (ENTITY.replace("002 ~", "003 ~"), "h.txt:1: the words and pointers of synset 00001740 do not fit"),
        (ENTITY.replace("01 entity", "02 entity"), "h.txt:1: the words and pointers of synset 00001740 do not fit"),
        (ENTITY.replace("01 entity 0", "00"), "h.txt:1: the words and pointers"),
        ("00001740 03 n ff entity 0\n", "h.txt:1: the words and pointers"),
        ("00001740 03 n 01 entity 0 001 @ 00001740 n 0000\n", "h.txt:1: 'n00001740' is its own parent"),
        (
            ENTITY.replace("~ 00001930", "@ 00001930") + DOG + ANIMAL,
            "h.txt:1: cycle of parents: n00001740 -> n00001930 -> n00002000 -> n00001740",
        ),
        (ENTITY.encode() + b"\xff\n", "h.txt:2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_line(text, expected):
    assert mistake_in(parse_wordnet, text).startswith(expected)


@given(dags())
def test_any_hierarchy_comes_back(parents):
    def line(c: int) -> str:
        pointers = "".join(f" {'@i' if p % 2 else '@'} {p:08d} n 0000" for p in parents[c])
        return f"{c:08d} 03 n 02 word_{c} 0 w 1 {len(parents[c]):03d}{pointers} | gloss\n"

    found = parse_wordnet("".join(map(line, range(len(parents)))).encode(), "data.noun")
    assert named_relations(found) == {(f"n{c:08d}", f"n{p:08d}") for c, above in enumerate(parents) for p in above}
    assert found.ids == tuple(f"n{c:08d}" for c in range(len(parents)))
    assert found.names[-1] == (f"word {len(parents) - 1}", "w")
