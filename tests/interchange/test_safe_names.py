import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_images.interchange.safe_names import MAX_NAME, key_of, safe_name

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("im_0", "im_0"),
        ("n04310904/n04310904_8388.JPEG", "n04310904%2Fn04310904_8388%2EJPEG"),
        ("https://a.b/c?d=%20", "https%3A%2F%2Fa%2Eb%2Fc%3Fd%3D%2520"),
        ("..", "%2E%2E"),
        ("ä\n", "%C3%A4%0A"),
        ("CON", "%43ON"),
        ("lpt9", "%6Cpt9"),
        ("com10", "com10"),
        ("console", "console"),
    ],
)
def test_names_say_their_key(key: str, name: str) -> None:
    assert safe_name(key) == name
    assert key_of(name) == key


@given(KEYS)
@example("x" * MAX_NAME)
@example("")
def test_names_are_plain_and_say_their_key_unless_cut(key: str) -> None:
    name = safe_name(key)
    assert re.fullmatch(r"[A-Za-z0-9_%-]+", name) and len(name) <= MAX_NAME
    assert key_of(name) == (None if "%-" in name else key)
    assert ("%-" in name) == (not 0 < len(re.sub(rb"[^A-Za-z0-9_-]", b"...", key.encode())) <= MAX_NAME)


@given(st.lists(KEYS, unique=True))
def test_two_keys_never_have_one_name(keys: list[str]) -> None:
    assert len({safe_name(key) for key in keys}) == len(keys)


def test_long_keys_with_one_beginning_stay_apart() -> None:
    keys = ["x" * 300 + str(i) for i in range(50)] + ["x" * MAX_NAME, "x" * (MAX_NAME + 1)]
    assert len({safe_name(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("name", ["", "a.b", "%2f", "%41", "%zz", "%FF", "a%-b", "a%"])
def test_what_no_key_has_as_its_name_says_none(name: str) -> None:
    assert key_of(name) is None
