"""The ways in which the sample's web server misbehaves, and the outcome that each must have in the `images` table.

A fault is asked for by path, /-/fault/KIND/PICTURE, where PICTURE is the file that a healthy server would have sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "/-/fault/"


@dataclass(frozen=True)
class Fault:
    outcome: str  # of a download with retries, see ml_images.outcomes
    meaning: str
    rows: int = 1  # rows of the sample's lists that run into it


FAULTS: Mapping[str, Fault] = {
    "missing": Fault("not_found", "404", rows=3),
    "gone": Fault("not_found", "410"),
    "private": Fault("forbidden", "403"),
    "refusing": Fault("http_error", "406"),
    "busy_once": Fault("ok", "429 with Retry-After: 1, then the picture"),
    "busy": Fault("rate_limited", "429 with Retry-After: 1, for ever"),
    "failing_once": Fault("ok", "500, then the picture"),
    "failing": Fault("server_error", "503, for ever"),
    "moved": Fault("ok", "302 to a 301 to the picture", rows=2),
    "circular": Fault("redirect_error", "302 to itself"),
    "dripping": Fault("timeout", "a few bytes every half second, for very long"),
    "silent": Fault("timeout", "takes the request and never answers"),
    "cut": Fault("truncated", "half of the bytes that Content-Length promises, then the connection closes"),
    "page": Fault("not_an_image", "an HTML page with status 200, called image/jpeg"),
    "unavailable": Fault("placeholder", "302 to the picture that says that the photo is gone", rows=2),
    "empty": Fault("empty", "200 without a body"),
}


def url_path(kind: str, picture: str) -> str:
    """The path, without the leading slash, whose request meets the fault."""
    return f"{PREFIX[1:]}{kind}/{picture}"
