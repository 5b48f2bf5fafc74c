import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.redirect import target_of
from ml_images.download.url import is_web_url

HERE = "https://a.example:8443/x/y.jpg?q=1"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("z.jpg", "https://a.example:8443/x/z.jpg"),
        ("/z.jpg?w=1#top", "https://a.example:8443/z.jpg?w=1"),
        ("//b.example/z", "https://b.example/z"),
        ("http://b.example/z", "http://b.example/z"),
        ("http://joe:word@b.example/z", "http://b.example/z"),
        ("//joe@b.example/z", "https://b.example/z"),
        (" http://b.example/a b ", "http://b.example/a%20b"),
        ("/größe.jpg".encode().decode("latin-1"), "https://a.example:8443/gr%C3%B6%C3%9Fe.jpg"),
        ("/größe.jpg", "https://a.example:8443/gr%F6%DFe.jpg"),  # bytes that are no UTF-8 stay what they are
        ("/z\nhttp://b.example/z", "https://a.example:8443/z"),
        ("http://2130706433/z", "http://127.0.0.1/z"),
        ("ftp://b.example/z", None),
        ("file:///etc/passwd", None),
        ("data:image/png;base64,AAAA", None),
        ("http://[broken/z", None),
        ("http:///z", None),
    ],
)
def test_where_it_leads(location: str, target: str | None) -> None:
    found = target_of(HERE, location)
    assert (found.text if found is not None else None) == target


@given(st.text(st.characters(max_codepoint=255)))
def test_whatever_a_host_writes_is_a_web_url_or_none(location: str) -> None:
    target = target_of(HERE, location)
    assert target is None or (is_web_url(target.text) and "@" not in target.text.split("/")[2])
