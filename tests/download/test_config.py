from typing import Any

import pytest

from ml_images import __version__
from ml_images.download.config import DownloadConfig, FetchConfig, PolitenessConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"connect_timeout_s": 0}, "connect_timeout_s must be positive, got 0"),
        ({"read_timeout_s": -1.0}, "read_timeout_s must be positive, got -1.0"),
        ({"deadline_s": float("nan")}, "deadline_s must be positive, got nan"),
        ({"max_bytes": 0}, "max_bytes must be at least 1, got 0"),
        ({"attempts": 0}, "attempts must be at least 1, got 0"),
        ({"max_redirects": -1}, "max_redirects must not be negative, got -1"),
        ({"backoff_s": -0.1}, "backoff_s must not be negative, got -0.1"),
        ({"user_agent": "a\r\nHost: b"}, "user_agent must be a line of printable ASCII"),
        ({"user_agent": " "}, "user_agent must be a line of printable ASCII"),
        ({"user_agent": "/mybot"}, "user_agent must begin with a product name, .* does, got '/mybot'$"),
        ({"user_agent": "(me@example.org)"}, "user_agent must begin with a product name"),
        ({"user_agent": " mybot"}, "user_agent must begin with a product name"),
        ({"user_agent": "my@bot/1"}, "user_agent must begin with a product name"),
    ],
)
def test_impossible_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FetchConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"requests_per_s": -1.0}, "requests_per_s must not be negative, got -1.0"),
        ({"requests_per_s": float("nan")}, "requests_per_s must not be negative, got nan"),
        ({"connections": -1}, "connections must not be negative, got -1"),
        ({"breaker_failures": -1}, "breaker_failures must not be negative, got -1"),
        ({"breaker_pause_s": 0}, "breaker_pause_s must be positive, got 0"),
        ({"requests_per_s_of": {"a.example": -1}}, "requests_per_s_of a.example must not be negative, got -1"),
        ({"requests_per_s_of": {"http://a.example": 1}}, "takes host names in lower case, got 'http://a.example'"),
    ],
)
def test_impossible_politeness_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolitenessConfig(**values)


def test_impossible_download_values_are_named() -> None:
    with pytest.raises(ValueError, match="in_flight must be at least 1, got 0"):
        DownloadConfig(in_flight=0)
    with pytest.raises(ValueError, match="buffer_bytes must be at least 1, got 0"):
        DownloadConfig(buffer_bytes=0)
    with pytest.raises(ValueError, match="base_url must start with http:// or https://, got 'photos/'"):
        DownloadConfig(base_url="photos/")


@pytest.mark.parametrize(
    "user_agent", ["mybot", "my-bot/1.0 (+http://me.example)", "mybot (me)", "!#$%&'*+-.^_`|~0aA/1"]
)
def test_users_say_who_they_are(user_agent: str) -> None:
    assert FetchConfig(user_agent=user_agent).user_agent == user_agent


def test_we_say_who_we_are() -> None:
    assert FetchConfig().user_agent == f"ml-images/{__version__}"


@pytest.mark.parametrize(
    ("user_agent", "names_contact"),
    [
        ("ml-images/0.1.0", False),
        ("mybot/1.0 (me@example.org)", True),
        ("mybot/1.0 (+https://example.org/bot)", True),
        ("mybot/1.0 (www.example.org)", True),
        ("mybot/1.0 (me@home)", False),
        ("mybot/1.0 (http://)", False),
    ],
)
def test_a_user_agent_with_a_url_or_an_address_names_a_contact(user_agent: str, names_contact: bool) -> None:
    assert FetchConfig(user_agent=user_agent).names_contact == names_contact
