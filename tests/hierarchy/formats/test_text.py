import pytest

from ml_images.errors import InputError
from ml_images.hierarchy.formats.text import read_lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\r\nb", ["a", "", "b"]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        ("é\u2028\x0b\x85\n".encode(), ["é\u2028\x0b\x85"]),
    ],
)
def test_lines_end_at_lf_and_crlf_only(data, lines):
    assert read_lines(data, "x") == lines


def test_the_line_of_the_first_byte_that_is_not_utf8_is_named():
    with pytest.raises(InputError, match=r"^x:2: not UTF-8: .* \(byte 0xff\)$"):
        read_lines(b"\xef\xbb\xbfa\nb\xffc\xfe\n", "x")
