import pytest

from ml_images.download.header import announced_length, check_codings, content_coding, parse_header


def test_fields_are_lower_case_and_repeated_ones_joined() -> None:
    lines = [
        b"HTTP/1.1 200 OK\r\n",
        b"Tdm-Reservation: 0\r\n",
        b"TDM-RESERVATION:1 \r\n",
        b"A: \xe9\r\n",
        b" more\r\n",
    ]
    assert parse_header(lines) == (200, {"tdm-reservation": "0, 1", "a": "é more"})


def test_places_and_times_keep_apart() -> None:
    lines = [
        b"HTTP/1.1 302 Found\r\n",
        b"Location: /a,b\r\n",
        b"location: /c\r\n",
        b"Retry-After: 5\r\n",
        b"Retry-After: 7\r\n",
    ]
    assert parse_header(lines) == (302, {"location": "/a,b\n/c", "retry-after": "5\n7"})


def test_robots_tags_keep_apart() -> None:
    lines = [
        b"HTTP/1.1 200 OK\r\n",
        b"X-Robots-Tag: otherbot: noindex,\r\n",
        b" nofollow\r\n",
        b"X-ROBOTS-TAG:noai \r\n",
    ]
    assert parse_header(lines) == (200, {"x-robots-tag": "otherbot: noindex, nofollow\nnoai"})


@pytest.mark.parametrize("lines", [[b"HTTP/1.1 abc\r\n"], [b"HTTP/1.1 200 OK\r\n", b"no colon\r\n"]])
def test_what_is_no_header_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"no status line|without a colon"):
        parse_header(lines)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, None),
        ({"content-length": "17"}, 17),
        ({"content-length": "17, 17"}, 17),
        ({"content-length": "9" * 40}, int("9" * 18)),
        ({"content-length": "17", "transfer-encoding": "chunked"}, None),
    ],
)
def test_the_announced_length_is_read(headers: dict[str, str], length: int | None) -> None:
    assert announced_length(headers) == length


@pytest.mark.parametrize("value", ["17, 18", "-1", "abc", "1_0", "²"])
def test_a_length_that_is_none_or_several_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        announced_length({"content-length": value})


def test_bodies_are_packed_once_at_most() -> None:
    check_codings({"content-encoding": "gzip", "transfer-encoding": "chunked"})
    check_codings({"content-encoding": "identity, br"})
    with pytest.raises(ValueError, match="Transfer-Encoding: gzip, chunked"):
        check_codings({"transfer-encoding": "gzip, chunked"})
    for headers in (
        {"content-encoding": "gzip, gzip"},
        {"content-encoding": "br", "transfer-encoding": "GZIP, chunked"},
    ):
        with pytest.raises(ValueError, match="packed more than once"):
            check_codings(headers)


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        ({}, ""),
        ({"content-encoding": "identity"}, ""),
        ({"content-encoding": " X-GZip"}, "gzip"),
        ({"content-encoding": "identity, br"}, "br"),
        ({"content-encoding": "aws-chunked"}, ""),
        ({"content-encoding": "UTF-8, gzip"}, "gzip"),
        ({"content-encoding": "none"}, ""),
        ({"content-encoding": "deflate", "transfer-encoding": "chunked"}, "deflate"),
    ],
)
def test_how_a_body_is_packed(headers: dict[str, str], coding: str) -> None:
    assert content_coding(headers) == coding


def test_what_nothing_unpacks_is_named() -> None:
    with pytest.raises(ValueError, match="Content-Encoding: zstd"):
        content_coding({"content-encoding": "zstd"})
