"""Where a redirect leads."""

from urllib.parse import urljoin, urlsplit, urlunsplit

from ml_images.download.url import WebUrl, parse_web_url


def target_of(url: str, location: str) -> WebUrl | None:
    """The place that a Location header (decoded as latin-1) means, seen from `url`; None where it is no web URL.

    User names and passwords that a host makes up do not come along.
    """
    # Hosts write UTF-8 where only ASCII is allowed.
    text = location.encode("latin-1", errors="replace").decode("utf-8", errors="replace").strip()
    try:
        parts = urlsplit(urljoin(url, text))
        return parse_web_url(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    except ValueError:
        return None
