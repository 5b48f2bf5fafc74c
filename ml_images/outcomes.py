"""The closed list of what can happen to an image row, and which outcomes deserve another try on the next run.

Every row of the `images` table carries one of these names, so rows in = rows out and each loss can be counted.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    name: str
    retryable: bool  # could the next run, later or with other options, have a fair chance?
    meaning: str


_ALL = (
    Outcome("ok", False, "a verified image; the row carries its training-size JPEG"),
    Outcome("no_url", True, "the key is not a URL and no base_url was given"),
    Outcome("bad_entry", False, "the list's size, MD5 or rotation for the key is no such value; tried once it is one"),
    Outcome("bad_url", False, "not an http or https URL with a host"),
    Outcome("address_refused", True, "the host resolves to an address that is not public (allow_private=false)"),
    Outcome("dns_error", True, "the host name did not resolve"),
    Outcome("connect_error", True, "no connection, or it broke before the answer was complete"),
    Outcome("tls_error", True, "the certificate or the TLS handshake was refused"),
    Outcome("timeout", True, "connect, read or total deadline passed, or the host said so (408)"),
    Outcome("redirect_error", False, "too many redirects, or one to something that is no URL"),
    Outcome("rate_limited", True, "429, also after waiting as told"),
    Outcome("server_error", True, "5xx, also after retrying"),
    Outcome("not_found", False, "404 or 410"),
    Outcome("forbidden", False, "401, 403 or 451"),
    Outcome("http_error", False, "any other status than 200, or an answer that breaks HTTP"),
    Outcome("truncated", True, "the body ended before its announced length or last chunk"),
    Outcome("too_large", False, "more bytes than max_bytes"),
    Outcome("empty", True, "200 without a body"),
    Outcome("not_an_image", False, "the bytes are no image format that we read (HTML, text, ...)"),
    Outcome("undecodable", False, "an image format, but the decoder refused the bytes"),
    Outcome("too_many_pixels", False, "more pixels than max_pixels, or a side longer than a JPEG can have"),
    Outcome("too_small", False, "a side shorter than min_side"),
    Outcome("placeholder", False, "a host's picture saying that the photo is gone"),
    Outcome("changed", False, "a picture, but not the expected one: its size or MD5 differs from the list's"),
    Outcome(
        "opted_out", False, "the host's headers say that the picture is not to be used (noai, noimageai, noindex, TDM)"
    ),
    Outcome("robots_disallowed", True, "the host's robots.txt forbids it to our user agent"),
    Outcome("host_unavailable", True, "not asked: its host failed too often in a row, or gives no robots.txt"),
    Outcome("unsupported_format", False, "a picture in a format that no installed library reads (HEIF, ...)"),
    Outcome("decoder_died", False, "the decoder crashed on the bytes, or ran out of memory or time"),
    Outcome("not_in_archive", True, "no archive has a member of this name"),
    Outcome("unsafe_member", True, "an archive member that is a link, leaves its folder or unpacks to too much"),
)

BY_NAME = {outcome.name: outcome for outcome in _ALL}
RETRYABLE = frozenset(outcome.name for outcome in _ALL if outcome.retryable)
