"""From a key to the URL that it stands for, and what of a URL is asked of whom.

A URL is taken apart once and put together again from the parts that were checked, so that the library that fetches it
cannot read it differently: names in their ASCII form, numbers that mean an IPv4 address written as that address
(http://2130706433/, http://0x7f.1/ and http://127.1/ are all 127.0.0.1), no user and password (bad_url: the lists are
public, so such a URL is a mistake or a trap), no fragment, no /./ and /../ (robots.txt would be asked about one path
and the host about another).

Two URLs are the same place where only their spelling differs: RFC 3986, 6.2.2 and 6.2.3.
"""

import functools
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

_DEFAULT_PORT = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9._-]+\Z")
_BRACKETED = re.compile(r"\[[^\]]*\](?::[0-9]*)?\Z")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_KEPT = "!#$%&'()*+,/:;=?@[]~"  # what a path or query may hold, RFC 3986, 2; anything else is sent percent-encoded
_DOT = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# As nearly all URLs of the large lists are: nothing of them has to be changed, which is seen in 1 microsecond, while
# taking one apart needs 20.
USUAL = re.compile(
    r"(https?)://((?:[a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62})"
    r"(?:/(?!\.)[\w!$&'()*+,:;=@~.-]*)+(?:\?[\w!$&'()*+,/:;=?@~.-]+)?\Z",
    re.ASCII,
)
_LONGEST_NAME = 253
_DEVIATIONS = frozenset("ßẞς\u200c\u200d")  # UTS 46, 2.3
LONGEST = 8192  # characters: what servers usually take (RFC 9110, 4.1 asks for 8,000); libcurl itself takes 8 million


@dataclass(frozen=True)
class WebUrl:
    """An http or https URL in the form in which it is sent."""

    text: str  # ASCII, without fragment
    host: str  # a lower-case ASCII name, or an address in its usual spelling
    port: int
    is_address: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self.text[: self.text.index("/", len("https://"))]


def parse_web_url(url: str) -> WebUrl:
    """Raises ValueError (UnicodeError too) for what is no http or https URL with a host that can exist, or longer than
    servers take."""
    if len(url) > LONGEST:
        raise ValueError(f"{len(url):,} characters, at most {LONGEST:,} are accepted")
    usual = USUAL.match(url)
    if usual is not None and len(usual[2]) <= _LONGEST_NAME:
        return WebUrl(url, usual[2], _DEFAULT_PORT[usual[1]], False)
    return _put_together(url.strip())


@functools.lru_cache(maxsize=4096)  # every URL is taken apart by the crawl and again by the transport
def _put_together(url: str) -> WebUrl:
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else _DEFAULT_PORT.get(parts.scheme, 0)
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname or not port:
        raise ValueError("no http or https URL with a host and a possible port")
    if "@" in parts.netloc:
        raise ValueError("a user name or password in the URL")
    bracketed = _BRACKETED.match(parts.netloc) is not None
    host, is_address = (str(ipaddress.IPv6Address(parts.hostname)), True) if bracketed else _name(parts.hostname)
    if "%" in host:  # IPv6 with a zone: means something on this machine only
        raise ValueError("an address with a zone")
    place = f"[{host}]" if bracketed else host
    if port != _DEFAULT_PORT[parts.scheme]:
        place += f":{port}"
    path = quote(_without_dots(parts.path or "/"), safe=_KEPT)
    query = f"?{quote(parts.query, safe=_KEPT)}" if parts.query else ""
    return WebUrl(f"{parts.scheme}://{place}{path}{query}", host, port, is_address)


def same_place(url: str) -> str:
    """Equal for all spellings of a URL: by case of scheme and host, default port, fragment, dots, and by what is
    percent-encoded that need not be. Raises nothing: what is no web URL is its own place.

    >>> same_place("HTTP://A.example:80/%7Ejoe/%c3%a9#top") == same_place("http://a.example/~joe/é")
    True
    """
    text = url.strip()
    if USUAL.match(text):
        return text
    try:
        text = parse_web_url(text).text
    except ValueError:
        return text
    return _ESCAPE.sub(_usual_escape, text) if "%" in text else text


def is_address(host: str) -> bool:
    """Is a WebUrl's host an address rather than a name? No name ends in a number."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def is_web_url(url: str) -> bool:
    """Is it an http or https URL with a host and a possible port?"""
    try:
        parse_web_url(url)
    except ValueError:
        return False
    return True


def url_of(key: str, base_url: str) -> str | None:
    """A key that is a URL of any kind as it is; any other below `base_url`, quoted; None without a base_url.

    >>> url_of("n01440764/a b.JPEG", "http://photos.example/imagenet")
    'http://photos.example/imagenet/n01440764/a%20b.JPEG'
    """
    if "://" in key:
        return key
    return f"{base_url.rstrip('/')}/{quote(key.lstrip('/'))}" if base_url else None


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4; dots may come percent-encoded (WHATWG URL, 4.4)."""
    if not _DOT.search(path):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, 1):
        dots = segment.replace("%2e", ".").replace("%2E", ".")
        if dots == ".." and kept:
            kept.pop()
        if dots not in (".", ".."):
            kept.append(segment)
        elif number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def _usual_escape(found: re.Match[str]) -> str:
    char = chr(int(found[0][1:], 16))
    return char if char in _UNRESERVED else found[0].upper()


def _in_ascii(name: str) -> str:
    """As browsers ask for it (UTS 46), and what the standard of today has no letters for as the one before it did:
    emoji. Never the four letters of which those two make different names: ß would be ss, somebody else's host."""
    if not name.isascii():
        try:
            return idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            if not _DEVIATIONS.isdisjoint(name):
                raise
    return name.encode("idna").decode("ascii")


def _name(text: str) -> tuple[str, bool]:
    """The host as it is asked for, and whether it is an IPv4 address. A last label that is a number makes it one, or
    nothing at all (WHATWG URL, 3.5): no top-level domain is numeric."""
    name = _in_ascii(text).lower().removesuffix(".")
    if not _NAME.match(name) or len(name) > _LONGEST_NAME:
        raise ValueError(f"no host name: {text}")
    if not _NUMBER.match(name.rpartition(".")[2]):
        return name, False
    try:
        return socket.inet_ntoa(socket.inet_aton(name)), True
    except OSError as error:
        raise ValueError(f"no IPv4 address: {text}") from error
