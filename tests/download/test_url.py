import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download import url as module
from ml_images.download.url import LONGEST, is_address, is_web_url, parse_web_url, same_place, url_of


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
        ("http://faß.example/", "http://xn--fa-hia.example/", "xn--fa-hia.example", 80),  # not fass.example
        ("http://💩.example/", "http://xn--ls8h.example/", "xn--ls8h.example", 80),
        ("http://BÜCHER。example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80),
        ("http://[2001:DB8:0::1]:81/", "http://[2001:db8::1]:81/", "2001:db8::1", 81),
        ("http://a.example/b/../c/./d/%2e%2E/e", "http://a.example/c/e", "a.example", 80),
        ("http://a.example/../b//../..", "http://a.example/", "a.example", 80),
        ("http://a.example/b/.", "http://a.example/b/", "a.example", 80),
        ("http://a.example/.b/..c/...", "http://a.example/.b/..c/...", "a.example", 80),
        ("http://a.example?x=/../y", "http://a.example/?x=/../y", "a.example", 80),
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


SPELLINGS = [
    "http://a.example/~joe/x%C3%A9.jpg?q=a%20b",
    "HTTP://A.Example/~joe/x%C3%A9.jpg?q=a%20b",
    "http://a.example:80/~joe/x%C3%A9.jpg?q=a%20b",
    "http://a.example./%7Ejoe/x%c3%a9.jpg?q=%61%20b#top",
    " http://a.example/y/../~joe/xé.jpg?q=a b ",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_place_is_the_same_however_it_is_spelt(url: str) -> None:
    assert same_place(url) == same_place(SPELLINGS[0])


def test_places_that_differ_in_more_than_spelling_stay_apart() -> None:
    urls = [
        "http://a.example/x",
        "https://a.example/x",
        "http://a.example:81/x",
        "http://b.example/x",
        "http://a.example/X",
        "http://a.example/x/",
        "http://a.example/x?",  # as above: an empty query is not sent
        "http://a.example/x?y",
        "http://a.example/x%2Fy",
        "http://a.example/x/y",
        "http://a.example/%20",
        "http://a.example/%2520",
    ]
    assert len({same_place(url) for url in urls}) == len(urls) - 1


@pytest.mark.parametrize("text", ["", "no url", "ftp://A.example/x", "http://a..b/", "http://[::1", "http://\ud800/"])
def test_what_is_no_web_url_is_its_own_place(text: str) -> None:
    assert same_place(f" {text} ") == text


CHARS = st.text("aZ09-._~!$&'()*+,;=:@/?#%[] éA\\\t\x00")


@given(
    scheme=st.sampled_from(["http", "https", "HTTP", "ftp"]),
    host=st.from_regex(r"[a-zA-Z0-9.\-_]{0,20}(:[0-9]{0,5})?", fullmatch=True),
    rest=st.one_of(st.just(""), CHARS.map(lambda text: "/" + text), CHARS),
)
def test_the_usual_ones_are_read_as_all_are(scheme: str, host: str, rest: str) -> None:
    """The short cut changes nothing: not what is sent, not the place."""
    url = f"{scheme}://{host}{rest}"
    place = same_place(url)
    try:
        slow = module._put_together(url.strip())
    except ValueError:
        with pytest.raises(ValueError):
            parse_web_url(url)
        assert place == url.strip()
        return
    assert parse_web_url(url) == slow
    assert same_place(slow.text) == same_place(place) == place
    assert is_address(slow.host) == slow.is_address


@given(st.text())
def test_a_place_is_its_own_place(text: str) -> None:
    for url in (text, f"http://{text}", f"http://a.example/{text}", f"http://a.example/%{text}"):
        assert same_place(same_place(url)) == same_place(url)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", ".".join(["abcdefgh"] * 29)])
def test_names_that_are_too_long_for_dns_are_none(host: str) -> None:
    assert not is_web_url(f"http://{host}/x")


@pytest.mark.parametrize("url", ["http://h.example/{}", "http://h/{}#"])
def test_a_url_that_no_server_takes_is_none(url: str) -> None:
    longest = url.format("a" * (LONGEST - len(url.format(""))))
    assert parse_web_url(longest).host.startswith("h")
    with pytest.raises(ValueError, match="8,193 characters, at most 8,192"):
        parse_web_url(longest.replace("a", "aa", 1))
