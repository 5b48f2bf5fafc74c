"""Where a redirect leads."""

from urllib.parse import urljoin, urlsplit, urlunsplit

from ml_images.download.header import FIELD_END
from ml_images.download.url import WebUrl, parse_web_url


def target_of(url: str, location: str) -> WebUrl | None:
    """The place that a Location header (decoded as latin-1; the first of several) means, seen from `url`; None where it
    is no web URL.

    User names and passwords that a host makes up do not come along.
    """
    raw = location.partition(FIELD_END)[0].strip().encode("latin-1", errors="replace")
    try:
        text = raw.decode("utf-8")  # hosts write it where only ASCII is allowed
    except UnicodeDecodeError:
        text = "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)
    try:
        parts = urlsplit(urljoin(url, text))
        return parse_web_url(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    except ValueError:
        return None
