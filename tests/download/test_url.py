import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.url import is_web_url, url_of


@pytest.mark.parametrize(
    ("key", "base_url", "url"),
    [
        ("http://a.example/x.jpg", "", "http://a.example/x.jpg"),
        ("https://a.example/x.jpg", "http://b.example", "https://a.example/x.jpg"),
        ("ftp://a.example/x.jpg", "http://b.example", "ftp://a.example/x.jpg"),
        ("n01440764/x.JPEG", "", None),
        ("n01440764/x.JPEG", "http://b.example/photos", "http://b.example/photos/n01440764/x.JPEG"),
        ("/n01440764/x.JPEG", "http://b.example/photos/", "http://b.example/photos/n01440764/x.JPEG"),
        ("a b?c#d%é.jpg", "http://b.example", "http://b.example/a%20b%3Fc%23d%25%C3%A9.jpg"),
    ],
)
def test_keys_stand_for_urls(key: str, base_url: str, url: str | None) -> None:
    assert url_of(key, base_url) == url


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("http://a.example", True),
        ("HTTPS://a.example:8443/x?y", True),
        ("http://[2001:db8::1]/x", True),
        ("ftp://a.example/x", False),
        ("file:///etc/passwd", False),
        ("http:///x.jpg", False),
        ("http://:80/x", False),
        ("http://a.example:0/", False),
        ("http://a.example:99999/", False),
        ("http://a.example:port/", False),
        ("http://[::1/x", False),
        ("", False),
    ],
)
def test_only_http_with_a_host_is_fetched(url: str, is_one: bool) -> None:
    assert is_web_url(url) is is_one


@given(st.text())
def test_any_key_below_a_base_is_a_web_url(key: str) -> None:
    if "://" not in key and not any("\ud800" <= char <= "\udfff" for char in key):
        assert is_web_url(url_of(key, "http://b.example/photos") or "")
