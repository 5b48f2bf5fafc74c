"""How patiently, how much and from where a URL is fetched."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ml_images import __version__
from ml_images.images.config import ImageConfig
from ml_images.options import option


@dataclass(frozen=True)
class FetchConfig:
    connect_timeout_s: float = option(5.0, help="seconds to wait for a connection, TLS handshake included")
    read_timeout_s: float = option(10.0, help="seconds to wait for the next bytes of an answer")
    deadline_s: float = option(60.0, help="seconds that one URL may take in all, with redirects, retries and waiting")
    max_bytes: int = option(50 * 2**20, help="longest body that is read, in bytes")
    max_redirects: int = option(5, help="redirects followed in one attempt")
    attempts: int = option(3, help="attempts at one URL within a run")
    backoff_s: float = option(0.5, help="wait after the first failed attempt; it doubles with each further one")
    allow_private: bool = option(
        False, help="also fetch from loopback, private and other addresses that are not public"
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


@dataclass(frozen=True)
class DownloadConfig:
    """Everything between a key and its row. At most `threads` bodies of `fetch.max_bytes` are held at a time."""

    fetch: FetchConfig = field(default_factory=FetchConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    threads: int = option(32, help="URLs fetched at a time by one worker")
    base_url: str = option("", help="where keys that are no URLs are found: base_url/key")

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.base_url and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ValueError(f"base_url must start with http:// or https://, got {self.base_url!r}")
