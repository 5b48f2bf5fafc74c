import base64
import hashlib

import pytest

from ml_images.download.entries import BadEntry, ListColumns, to_wanted
from ml_images.download.wanted import Candidate, Wanted

OPEN_IMAGES = ListColumns(
    key="ImageID",
    urls=["https://mirror.example/train/{key}.jpg", "OriginalURL", "Thumbnail300KURL"],
    size="OriginalSize",
    md5="OriginalMD5",
    checked="OriginalURL",
    rotation="Rotation",
    rotated=["OriginalURL", "Thumbnail300KURL"],
)


def wanted(
    urls: list[str | None] | None, size: str | None = None, md5: str | None = None, rotation: str | None = None
) -> Wanted:
    return to_wanted("4fa8054781a4c382", urls, size, md5, rotation, OPEN_IMAGES)


def test_size_md5_and_rotation_belong_to_the_urls_that_they_are_about() -> None:
    found = wanted([None, "http://a/o.jpg", "http://a/z.jpg"], "4405052", "KFukvivpCM5QXl5SqKe41g==", "90.0")
    digest = base64.b64decode("KFukvivpCM5QXl5SqKe41g==")
    assert found.candidates == (
        Candidate("https://mirror.example/train/4fa8054781a4c382.jpg"),
        Candidate("http://a/o.jpg", 4405052, digest, 90),
        Candidate("http://a/z.jpg", None, None, 90),
    )


def test_by_default_the_first_url_is_checked_and_all_are_rotated() -> None:
    columns = ListColumns(urls=["a", "b"], size="n", rotation="r")
    found = to_wanted("k", ["http://a/", "http://b/"], "7", None, "180", columns)
    assert found.candidates == (Candidate("http://a/", 7, None, 180), Candidate("http://b/", None, None, 180))


def test_empty_and_repeated_urls_are_tried_never_and_once() -> None:
    found = to_wanted(
        "k", [None, " http://a/ ", "", "http://a/"], None, None, None, ListColumns(urls=["a", "b", "c", "d"])
    )
    assert found.candidates == (Candidate("http://a/"),)
    assert to_wanted("k", [None], None, None, None, ListColumns()).candidates == ()


def test_two_spellings_of_a_url_are_tried_once_with_what_is_known_of_it() -> None:
    columns = ListColumns(urls=["a", "b", "c"], size="n", checked="b")
    urls: list[str | None] = ["http://a.example/%41", "HTTP://A.example:80/A", "http://b.example/"]
    assert to_wanted("k", urls, "7", None, None, columns).candidates == (
        Candidate("HTTP://A.example:80/A", 7),
        Candidate("http://b.example/"),
    )


def test_a_key_without_an_entry_is_its_url_or_lies_below_the_base() -> None:
    columns = ListColumns()
    assert to_wanted("http://a/b c", None, None, None, None, columns).candidates == (Candidate("http://a/b c"),)
    assert to_wanted("n1/a b.JPEG", None, None, None, None, columns).candidates == ()
    found = to_wanted("n1/a b.JPEG", None, None, None, None, columns, base_url="http://h/x")
    assert found.candidates == (Candidate("http://h/x/n1/a%20b.JPEG"),)


def test_a_key_is_quoted_in_a_template() -> None:
    columns = ListColumns(key="id", urls=["http://h/{key}.jpg"])
    assert to_wanted("a b/c?d#e", [None], None, None, None, columns).candidates == (
        Candidate("http://h/a%20b/c%3Fd%23e.jpg"),
    )


@pytest.mark.parametrize(
    "digest", [hashlib.md5(b"x").hexdigest(), base64.b64encode(hashlib.md5(b"x").digest()).decode()]
)
def test_an_md5_is_read_in_either_spelling(digest: str) -> None:
    columns = ListColumns(md5="m")
    assert to_wanted("k", ["http://a/"], None, digest, None, columns).candidates[0].md5 == hashlib.md5(b"x").digest()


@pytest.mark.parametrize(
    ("size", "md5", "rotation", "told"),
    [
        ("many", None, None, "size 'many' is no number of bytes"),
        ("-1", None, None, "size '-1' is no number of bytes"),
        ("1.5", None, None, "size '1.5' is no number of bytes"),
        (None, "abc", None, "md5 'abc' is neither base64 nor hexadecimal of 16 bytes"),
        (None, "zz" * 16, None, "is neither base64 nor hexadecimal of 16 bytes"),
        (None, None, "45.0", "rotation '45.0' is none of 0, 90, 180, 270"),
    ],
)
def test_values_that_are_none_are_named(size: str | None, md5: str | None, rotation: str | None, told: str) -> None:
    columns = ListColumns(size="s", md5="m", rotation="r")
    with pytest.raises(BadEntry, match=told):
        to_wanted("k", ["http://a/"], size, md5, rotation, columns)


def test_a_key_that_was_not_written_in_utf_8_is_named_as_others_may_have_become_the_same() -> None:
    with pytest.raises(BadEntry, match="key 'caf\ufffd' was not written in UTF-8"):
        to_wanted("caf\ufffd", ["http://a/"], None, None, None, ListColumns())


def test_sizes_that_went_through_floats_and_rotations_that_nobody_knows() -> None:
    columns = ListColumns(size="s", rotation="r")
    assert to_wanted("k", ["http://a/"], "494555.0", None, "", columns).candidates == (Candidate("http://a/", 494555),)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"urls": []}, "at least one column"),
        ({"urls": ["http://h/{key}"]}, "key must name a column"),
        ({"checked": "other"}, "checked must be among urls"),
        ({"rotated": ["other"]}, "rotated must be among urls"),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ListColumns(**given)
