"""How patiently, how much and from where a URL is fetched."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ml_images import __version__
from ml_images.images.config import ImageConfig
from ml_images.options import option

PRODUCT = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?=[/ ]|\Z)")
"""The name at the beginning of a User-Agent (RFC 9110, 10.1.5), which robots.txt and opt-out headers call us by."""
_CONTACT = re.compile(r"https?://[^\s()]|www\.|[^\s()@]@[^\s()@]+\.[^\s()@]")


@dataclass(frozen=True)
class FetchConfig:
    connect_timeout_s: float = option(5.0, help="seconds to wait for a connection, TLS handshake included")
    read_timeout_s: float = option(10.0, help="seconds to wait for the next bytes of an answer")
    deadline_s: float = option(
        60.0, help="seconds that one URL may take in all, with redirects, retries and the waits between them"
    )
    max_bytes: int = option(50 * 2**20, help="longest body that is read, in bytes")
    max_redirects: int = option(5, help="redirects followed in one attempt")
    attempts: int = option(3, help="attempts at one URL within a run")
    backoff_s: float = option(0.5, help="wait after the first failed attempt; it doubles with each further one")
    allow_private: bool = option(
        False, help="also fetch from loopback, private and other addresses that are not public"
    )
    ca_file: str = option(
        "", help="certificate authorities that servers are verified by (PEM); empty: those of certifi"
    )
    user_agent: str = option(f"ml-images/{__version__}", help="User-Agent header; add a way to reach you")

    def __post_init__(self) -> None:
        for name in ("connect_timeout_s", "read_timeout_s", "deadline_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("max_bytes", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_redirects", "backoff_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.user_agent.isascii() or not self.user_agent.isprintable() or not self.user_agent.strip():
            raise ValueError(f"user_agent must be a line of printable ASCII, got {self.user_agent!r}")
        if PRODUCT.match(self.user_agent) is None:
            raise ValueError(
                "user_agent must begin with a product name, as 'mybot/1.0 (me@example.org)' does, "
                f"got {self.user_agent!r}"
            )

    @property
    def names_contact(self) -> bool:
        """Does the User-Agent hold a URL or an e-mail address, as the policies of Flickr and Wikimedia ask for?"""
        return _CONTACT.search(self.user_agent) is not None


@dataclass(frozen=True)
class PolitenessConfig:
    """What a host has to bear from all workers together, and what it may say about it."""

    # 16 hosts of Flickr at 50 a second are 800 images a second; img2dataset's users were banned at some hundred a host.
    requests_per_s: float = option(50.0, help="requests a second to one host, from all workers together; 0 = no limit")
    connections: int = option(16, help="connections to one host, idle ones too, of all workers together; 0 = no limit")
    requests_per_s_of: dict[str, float] = option({}, help="other requests_per_s for single hosts, by name")
    robots: bool = option(True, help="obey robots.txt (RFC 9309), its Crawl-delay too")
    opt_out: bool = option(True, help="leave pictures whose headers say noai, noimageai, noindex or tdm-reservation: 1")
    breaker_failures: int = option(10, help="failures in a row after which a host is left alone for a while; 0 = never")
    breaker_pause_s: float = option(60.0, help="seconds that it is left alone, before one request tries again")

    def __post_init__(self) -> None:
        for name in ("requests_per_s", "connections", "breaker_failures"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for host, rate in self.requests_per_s_of.items():
            if not rate >= 0:
                raise ValueError(f"requests_per_s_of {host} must not be negative, got {rate}")
            if host != host.lower() or "/" in host:
                raise ValueError(f"requests_per_s_of takes host names in lower case, got '{host}'")
        if not self.breaker_pause_s > 0:
            raise ValueError(f"breaker_pause_s must be positive, got {self.breaker_pause_s}")


@dataclass(frozen=True)
class DownloadConfig:
    """Everything between a key and its row."""

    fetch: FetchConfig = field(default_factory=FetchConfig)
    politeness: PolitenessConfig = field(default_factory=PolitenessConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    in_flight: int = option(256, help="requests under way in one worker")
    buffer_bytes: int = option(
        256 * 2**20, help="of bodies under way or before the decoder in one worker; one body more at most"
    )
    base_url: str = option("", help="where keys that are no URLs are found: base_url/key")

    def __post_init__(self) -> None:
        for name in ("in_flight", "buffer_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.base_url and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url must start with http:// or https://, got {self.base_url!r}")
