"""From a key to the URL that it stands for."""

from urllib.parse import quote, urlsplit


def is_web_url(url: str) -> bool:
    """Is it an http or https URL with a host and a possible port?"""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets without an address, a port that is no number
        return False


def url_of(key: str, base_url: str) -> str | None:
    """A key that is a URL of any kind as it is; any other below `base_url`, quoted; None without a base_url.

    >>> url_of("n01440764/a b.JPEG", "http://photos.example/imagenet")
    'http://photos.example/imagenet/n01440764/a%20b.JPEG'
    """
    if "://" in key:
        return key
    return f"{base_url.rstrip('/')}/{quote(key.lstrip('/'))}" if base_url else None
