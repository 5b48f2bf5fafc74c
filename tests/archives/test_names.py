import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.archives.key_index import index_of
from ml_images.archives.names import (
    Shape,
    components_of,
    danger_of,
    is_archive_name,
    is_bare,
    keys_of,
    shape_of,
    stem_of,
)

SYNSET_KEY = "n02084071/n02084071_9.JPEG"


def named(key: str, place: str) -> bool:
    return [found for _, found in index_of([key]).named_by(place.split("/"))] == [key]


@pytest.mark.parametrize(
    "place",
    [
        "fall11_whole/n02084071/n02084071_9.JPEG",  # tar of tars
        "n02084071/n02084071_9.JPEG",  # tar of a synset
        "archive/train/n02084071/n02084071_9.JPEG",
        "all/n02084071_9.JPEG",  # flat: the file name says the folder
        "all/dogs/n02084071_9.JPEG",
    ],
)
def test_a_synset_key_is_found_wherever_its_file_lies(place: str) -> None:
    for key in (SYNSET_KEY, "./" + SYNSET_KEY, "/" + SYNSET_KEY, "n02084071_9.JPEG", "n02084071_9"):
        assert named(key, place), key


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("cats/1.jpg", "dogs/1.jpg"),
        ("cats/1.jpg", "all/1.jpg"),
        ("ats/1.jpg", "cats/1.jpg"),
        ("cats/1.jpg", "cats/1.jpeg"),
        ("cats/1.JPG", "cats/1.jpg"),
        ("a/b/c/1.jpg", "b/c/1.jpg"),
        ("n02084071_9.JPEG", "n02084071/n02084071_99.JPEG"),
        ("n02084071/9.JPEG", "all/n02084071_9.JPEG"),
        ("1", "all/1/2.jpg"),
        ("../1.jpg", "a/../1.jpg"),
        ("", "a/1.jpg"),
        ("a//1.jpg", "a/1.jpg"),
    ],
)
def test_other_names_are_no_match(key: str, place: str) -> None:
    assert not named(key, place)


def test_an_id_without_ending_names_the_file_with_one() -> None:
    assert named("000a1249af2bc5f0", "train_0/000a1249af2bc5f0.jpg")
    assert named("000a1249af2bc5f0", "train_0/000a1249af2bc5f0")
    assert not named("000a1249af2bc5f0", "train_0/000a1249af2bc5f0.tar.jpg")


def test_a_member_answers_to_every_key_that_names_it() -> None:
    index = index_of(["a/1.jpg", "1.jpg", "x/a/1.jpg", "a/1", "b/1.jpg"])
    found = {key for _, key in index.named_by(["x", "a", "1.jpg"])}
    assert found == {"a/1.jpg", "1.jpg", "x/a/1.jpg", "a/1"}


def test_each_key_is_named_once() -> None:
    keys = ["n02084071/n02084071_9.JPEG", "n02084071_9.JPEG", "x/n02084071/n02084071_9.JPEG", "n02084071_9"]
    index = index_of(keys)
    named = [
        sorted(key for _, key in index.named_by(["x", "n02084071", "n02084071_9.JPEG"][first:])) for first in (0, 2)
    ]
    assert named == [sorted(keys), sorted([keys[0], keys[1], keys[3]])]


NAMES = st.text("ab.n0_/-", min_size=1, max_size=12)


@given(st.lists(NAMES, max_size=12), NAMES)
def test_the_index_finds_what_the_rules_say_key_by_key(keys: list[str], name: str) -> None:
    place = ["archive", *components_of(name)]
    expected = {key for key in keys if (shape := shape_of(key)) and key in set(keys_of(place, frozenset([shape])))}
    assert sorted(key for _, key in index_of(set(keys)).named_by(place)) == sorted(expected)


@given(NAMES)
def test_every_sound_key_names_the_member_of_its_own_path(key: str) -> None:
    shape = shape_of(key)
    if shape is not None:
        assert key in set(keys_of(components_of(key), frozenset([shape])))


def test_shapes() -> None:
    assert shape_of("./a/b.jpg") == Shape("./", 1, True)
    assert shape_of("n02084071_9") == Shape("", 0, False)
    assert [shape_of(key) for key in ("", "/", "a//b", "a/../b", "a/.", "//a")] == [None] * 6


def test_a_bare_name_without_synset_is_bare() -> None:
    assert is_bare("1.jpg") and is_bare("./1.jpg") and is_bare("000a1249af2bc5f0")
    assert not is_bare("n02084071_9.JPEG") and not is_bare("a/1.jpg")


@pytest.mark.parametrize(
    "name",
    ["/a.jpg", "../a.jpg", "a/../b.jpg", "a/..", "C:a.jpg", "c:/a.jpg", "a/NUL", "con.jpg", "Lpt1.JPEG", "a\0.jpg"],
)
def test_dangerous_names_are_told(name: str) -> None:
    assert danger_of(name)


def test_an_endless_name_is_dangerous() -> None:
    assert danger_of("a/" * 3000 + "b.jpg")


@pytest.mark.parametrize(
    "name", ["a.jpg", "./a.jpg", "a..b/..c.jpg", "console.jpg", "a/b:c.jpg", "nullset.png", "a//b"]
)
def test_honest_names_are_not(name: str) -> None:
    assert danger_of(name) is None


def test_archive_names_and_stems() -> None:
    for name in (
        "n1.tar",
        "n1.TAR.GZ",
        "n1.tgz",
        "n1.tar.bz2",
        "n1.tbz2",
        "n1.tar.xz",
        "n1.txz",
        "n1.tar.zst",
        "n1.zip",
    ):
        assert is_archive_name(name) and stem_of("a/" + name) == "n1"
    assert not any(map(is_archive_name, ("a.jpg", "tar", "a.gz", "atar", "zip")))
    assert stem_of("n1.x.tar") == "n1.x"
