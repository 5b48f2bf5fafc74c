"""Bytes of a small text file as lines, which end at LF or CRLF only: names may hold U+2028, vertical tabs and more."""

from ml_images.errors import InputError

_BOM = b"\xef\xbb\xbf"


def read_lines(data: bytes, source: str) -> list[str]:
    """The lines without their ends and without a byte order mark. Raises InputError for what is not UTF-8."""
    text = read_text(data, source)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def read_text(data: bytes, source: str) -> str:
    """The text without a byte order mark. Raises InputError (`source:line: ...`) for what is not UTF-8."""
    data = data.removeprefix(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{source}:{line}: not UTF-8: {error.reason} (byte 0x{data[error.start]:02x})") from None
