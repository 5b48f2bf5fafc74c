"""The ways in which the sample's web server misbehaves, and the outcome that each must have in the `images` table.

A fault is asked for by path, /-/fault/KIND/PICTURE, where PICTURE is the file that a healthy server would have sent.
Some kinds take a value, KIND=VALUE; those listed here are examples, the server takes any. The outcomes hold for a
client with the usual limits (5 redirects, 50 MiB, 3 attempts) that waits as it is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from ml_images.sample.answers import PREFIX


@dataclass(frozen=True)
class Fault:
    outcome: str  # of a download with retries, see ml_images.outcomes
    meaning: str
    rows: int = 0  # rows of the sample's lists that run into it
    leaves: bool = False  # sends the client to another machine: never to be met with allow_private=true


def _of_status(code: int) -> Fault:
    exact = {401: "forbidden", 403: "forbidden", 404: "not_found", 408: "timeout", 410: "not_found"}
    exact |= {429: "rate_limited", 451: "forbidden"}
    other = "server_error" if 500 <= code < 600 else "http_error"
    return Fault(exact.get(code, other), f"{code}, for ever")


_CODES = [status.value for status in HTTPStatus if status > 200] + [420, 499, 520, 522, 530, 599, 600, 999]

# The order decides which picture of the sample world is behind which fault: new kinds come last.
_IN_THE_SAMPLE = {
    "missing": Fault("not_found", "404", rows=1),
    "gone": Fault("not_found", "410", rows=1),
    "private": Fault("forbidden", "403", rows=1),
    "refusing": Fault("http_error", "406", rows=1),
    "busy_once": Fault("ok", "429 with Retry-After: 1, then the picture", rows=1),
    "busy": Fault("rate_limited", "429 with Retry-After: 1, for ever", rows=1),
    "failing_once": Fault("ok", "500, then the picture", rows=1),
    "failing": Fault("server_error", "503, for ever", rows=1),
    "moved": Fault("ok", "302 to a 301 to the picture", rows=2),
    "circular": Fault("redirect_error", "302 to itself", rows=1),
    "dripping": Fault("timeout", "a few bytes every half second, for very long", rows=1),
    "silent": Fault("timeout", "takes the request and never answers", rows=1),
    "cut": Fault("truncated", "half of the bytes that Content-Length promises, then the connection closes", rows=1),
    "page": Fault("not_an_image", "an HTML page with status 200, called image/jpeg", rows=1),
    "unavailable": Fault("placeholder", "302 to the picture that says that the photo is gone", rows=2),
    "empty": Fault("empty", "200 without a body", rows=1),
    "noai": Fault("opted_out", "X-Robots-Tag: noai", rows=1),
    "disallowed": Fault("robots_disallowed", "robots.txt forbids it; who asks all the same gets the picture", rows=1),
}

_LATER = {
    "busy=2": Fault("ok", "429 with Retry-After: 1 so many times, then the picture"),
    "busy_date=1": Fault("ok", "the same with a date in Retry-After"),
    "busy_untold=1": Fault("ok", "the same without Retry-After"),
    "busy_long": Fault("rate_limited", "429 with Retry-After: 3600: one request and no more"),
    "failing=2": Fault("ok", "503 so many times, then the picture"),
    "pausing=1": Fault("ok", "503 with Retry-After: 1 so many times, then the picture"),
}

_REDIRECTED = {
    "redirect=301": Fault("ok", "301 to the picture"),
    "redirect=303": Fault("ok", "303 to the picture"),
    "redirect=307": Fault("ok", "307 to the picture"),
    "redirect=308": Fault("ok", "308 to the picture"),
    "hops=5": Fault("ok", "so many redirects to the picture: as many as are followed"),
    "hops=6": Fault("redirect_error", "one more"),
    "ping": Fault("redirect_error", "302 to a URL that sends back here"),
    "elsewhere=127.0.0.2": Fault("ok", "302 to the same port of another host"),
    "relative": Fault("ok", "302 to a relative address with dots"),
    "raw_location": Fault("ok", "302 to an address with bytes that want quoting"),
    "credentials": Fault("ok", "302 to an address with a name and a password; who sends them on gets 400"),
    "no_location": Fault("http_error", "302 without Location: a status like any other"),
    "broken_location": Fault("redirect_error", "302 to something that is no address"),
    "to_file": Fault("redirect_error", "302 to file:///etc/passwd"),
    "to_ftp": Fault("redirect_error", "302 to an ftp address"),
    "to_script": Fault("redirect_error", "302 to javascript:"),
    "to_metadata": Fault("address_refused", "302 to a cloud's metadata service, 169.254.169.254", leaves=True),
    "to_private": Fault("address_refused", "302 to 10.0.0.1", leaves=True),
    "to_mapped": Fault("address_refused", "302 to ::ffff:10.0.0.1", leaves=True),
    "flickr": Fault("placeholder", "Flickr's way: 302 to /pw/images/en-us/photo_unavailable.png"),
    "moved_unavailable": Fault("placeholder", "a redirect to a redirect to the picture of a photo that is gone"),
}

_BODIES = {
    "shorter": Fault("undecodable", "Content-Length names half of the bytes that follow"),
    "stalled": Fault("timeout", "half of the bytes, then silence"),
    "huge": Fault("too_large", "a Content-Length of a terabyte"),
    "endless": Fault("too_large", "no length and no end"),
    "negative": Fault("http_error", "Content-Length: -1"),
    "unmeasured": Fault("ok", "no length: the body ends with the connection"),
    "chunked": Fault("ok", "Transfer-Encoding: chunked"),
    "chunked_cut": Fault("truncated", "chunks, but the last one never comes"),
    "chunked_bad": Fault("http_error", "a chunk whose size is no number"),
    "chunked_endless": Fault("too_large", "chunks without end"),
    "gzip": Fault("ok", "Content-Encoding: gzip"),
    "deflate": Fault("ok", "Content-Encoding: deflate"),
    "gzip_bad": Fault("http_error", "called gzip, but it is none"),
    "gzip_cut": Fault("undecodable", "gzip that stops in the middle, with its right Content-Length"),
    "gzip_bomb": Fault("too_large", "250 KB that unpack to 256 MiB"),
    "encoded": Fault("http_error", "an encoding that nobody knows"),
    "octets": Fault("ok", "the picture as application/octet-stream"),
    "untyped": Fault("ok", "the picture without a Content-Type"),
    "called_html": Fault("not_an_image", "the picture as text/html"),
    "html": Fault("not_an_image", "an HTML page that says so"),
    "svg": Fault("not_an_image", "an SVG file"),
    "pixel": Fault("too_small", "a GIF of one pixel"),
    "same": Fault("placeholder", "the picture of a photo that is gone, under every address, without a redirect"),
}

_OPT_OUTS = {
    "noimageai": Fault("opted_out", "X-Robots-Tag: noimageai"),
    "noindex": Fault("opted_out", "X-Robots-Tag: noindex"),
    "noai_among": Fault("opted_out", "X-Robots-Tag: max-snippet: 20, NoAI"),
    "noai_twice": Fault("opted_out", "two fields X-Robots-Tag, the second one with noai"),
    "noai_us": Fault("opted_out", "X-Robots-Tag: ml-images: noai"),
    "noai_others": Fault("ok", "X-Robots-Tag: otherbot: noai"),
    "nofollow": Fault("ok", "X-Robots-Tag: nofollow, which says nothing about pictures"),
    "tdm": Fault("opted_out", "tdm-reservation: 1"),
    "tdm_free": Fault("ok", "tdm-reservation: 0"),
}

_CONNECTIONS = {
    "slow=500": Fault("ok", "so many milliseconds of silence, then the picture"),
    "trickle=500": Fault("ok", "the picture in small pieces over so many milliseconds"),
    "dripping_head": Fault("timeout", "a field of the head every half second, without end"),
    "mute": Fault("timeout", "the head, then silence"),
    "hanging_up": Fault("connect_error", "closes the connection instead of an answer"),
    "reset": Fault("connect_error", "resets the connection instead of an answer"),
    "cut_head": Fault("connect_error", "closes the connection within the head"),
    "reset_body": Fault("connect_error", "resets the connection after half of the body"),
    "closing=1": Fault("ok", "closes the connection after so many answers without having said so"),
    "stale": Fault("ok", "answers the first request of a connection and closes it at the second"),
    "interim": Fault("ok", "100 and 103 before the answer"),
    "long_head": Fault("ok", "a field of 16 KB"),
    "huge_head": Fault("http_error", "a field of 2 MB"),
    "endless_head": Fault("http_error", "fields without end"),
    "old": Fault("ok", "HTTP/1.0 without a length"),
    "ancient": Fault("http_error", "bytes without any head, as in HTTP/0.9"),
    "babble": Fault("http_error", "a status line that is none"),
}

FAULTS: Mapping[str, Fault] = {
    **_IN_THE_SAMPLE,
    **_LATER,
    **_REDIRECTED,
    **_BODIES,
    **_OPT_OUTS,
    **_CONNECTIONS,
    **{f"status={code}": _of_status(code) for code in _CODES},
}


def url_path(kind: str, picture: str) -> str:
    """The path, without the leading slash, whose request meets the fault."""
    return f"{PREFIX[1:]}{kind}/{picture}"
