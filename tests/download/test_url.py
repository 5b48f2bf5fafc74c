import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.url import is_web_url, parse_web_url, url_of


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
        ("http://[::1]x/", False),
        ("http://a[::1]/", False),
        ("http://[fe80::1%25eth0]/", False),
        ("http://user:password@a.example/", False),
        ("http://user@a.example/", False),
        ("http://a%2eb.example/", False),
        ("http://a b/", False),
        ("http://a..b/", False),
        ("http://1.2.3.4.5/", False),
        ("http://a.1/", False),
        ("http://256.1.1.1/", False),
        ("http://\ud800.example/", False),
        ("", False),
    ],
)
def test_only_http_with_a_host_is_fetched(url: str, is_one: bool) -> None:
    assert is_web_url(url) is is_one


@given(st.text())
def test_any_key_below_a_base_is_a_web_url(key: str) -> None:
    if "://" not in key and not any("\ud800" <= char <= "\udfff" for char in key):
        assert is_web_url(url_of(key, "http://b.example/photos") or "")


@pytest.mark.parametrize(
    ("url", "text", "host", "port"),
    [
        ("http://A.Example.:80/x#y", "http://a.example/x", "a.example", 80),
        ("https://a.example:8443", "https://a.example:8443/", "a.example", 8443),
        (" http://a.example/a b?é ", "http://a.example/a%20b?%C3%A9", "a.example", 80),
        ("http://a.example/%20%zz?a=b&c", "http://a.example/%20%zz?a=b&c", "a.example", 80),
        ("http://Bücher.example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80),
        ("http://[2001:DB8:0::1]:81/", "http://[2001:db8::1]:81/", "2001:db8::1", 81),
    ],
)
def test_urls_have_one_form_in_which_they_are_sent(url: str, text: str, host: str, port: int) -> None:
    parsed = parse_web_url(url)
    assert (parsed.text, parsed.host, parsed.port) == (text, host, port)
    assert parse_web_url(text) == parsed


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "127.1", "0177.0.0.1", "①②⑦.1", "127.0.0.1."]
)
def test_every_spelling_of_an_ipv4_address_is_that_address(host: str) -> None:
    parsed = parse_web_url(f"http://{host}/")
    assert (parsed.text, parsed.host, parsed.is_address) == ("http://127.0.0.1/", "127.0.0.1", True)


@given(st.text())
def test_what_is_sent_is_printable_ascii(rest: str) -> None:
    for url in (f"http://{rest}", f"http://a.example/{rest}"):
        try:
            parsed = parse_web_url(url)
        except ValueError:
            continue
        assert parsed.text.isascii() and parsed.text.isprintable() and " " not in parsed.text
