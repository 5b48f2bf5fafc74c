import hashlib

import pytest

from ml_images.download import placeholder
from ml_images.download.placeholder import is_placeholder, is_placeholder_url


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://s.yimg.com/pw/images/en-us/photo_unavailable.png", True),
        ("https://s.yimg.com/pw/images/en-us/photo_unavailable_l.png", True),
        ("http://127.0.0.1:8000/photo_unavailable.png?x=1", True),
        ("https://a.example/photo_unavailable", True),
        ("https://a.example/photo.png", False),
        ("https://a.example/my_photo_unavailable.png", True),
        ("https://a.example/photo_unavailable/l.png", True),
        ("https://a.example/?photo_unavailable.png", False),
    ],
)
def test_known_by_where_a_redirect_leads(url: str, is_one: bool) -> None:
    assert is_placeholder_url(url) is is_one


def test_known_by_length_and_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placeholder, "_KNOWN", {4: hashlib.md5(b"gone").hexdigest()})
    assert is_placeholder(b"gone")
    assert not is_placeholder(b"here")
    assert not is_placeholder(b"gone ")


def test_flickrs_picture_is_in_the_list_and_others_of_its_length_are_not() -> None:
    assert placeholder._KNOWN == {2051: "880a7a58e05d3e83797f27573bb6d35c"}
    assert not is_placeholder(bytes(2051))


def test_lengths_that_need_a_closer_look() -> None:
    assert placeholder.may_be_placeholder(2051)
    assert not placeholder.may_be_placeholder(2050)
