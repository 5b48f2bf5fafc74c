"""What the sample's web server knows of a request, and the pieces that every answer is made of.

An answer is either all of its bytes, or steps: bytes to send, seconds to wait, or how the connection ends.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

COPY = "/-/copy/"  # COPY + "17/PATH" is a URL of its own with the answer of /PATH
PREFIX = "/-/fault/"
UNAVAILABLE = "photo_unavailable.png"
PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JPEG = "image/jpeg"


class End(Enum):
    CLOSE = "close"  # FIN, after what was sent
    RESET = "reset"  # RST


Step = bytes | float | End
Answer = bytes | Iterator[Step]


@dataclass(frozen=True)
class Picture:
    data: bytes
    content_type: str


@dataclass(frozen=True)
class Asked:
    """A request for a fault's path, `{copy}/-/fault/KIND=VALUE/PICTURE`."""

    base_url: str  # scheme, host and port as the client knows them, no slash at the end
    copy: str  # "/-/copy/17", or nothing
    kind: str
    value: str  # "" where there is none
    place: str  # the picture's path below the root, as in the URL
    picture: Picture | None  # None: there is no such file
    fields: Mapping[str, str]  # of the request, names in lower case
    times: int  # how often this path was asked for, this time included
    earlier: int  # requests answered on this connection before

    def number(self, default: int) -> int:
        """The value as a whole number; `default` where there is none or it is no number."""
        return int(self.value) if self.value.isascii() and self.value.isdigit() else default

    def other(self, kind: str) -> str:
        """The path of the same picture behind another fault."""
        return f"{self.copy}{PREFIX}{kind}/{self.place}"

    @property
    def healthy(self) -> str:
        """The path of the picture itself."""
        return f"{self.copy}/{self.place}"

    def sent(self, **more: str) -> bytes:
        """The picture as a healthy server sends it; more fields as keyword arguments, `_` for `-`."""
        if self.picture is None:
            return refusal(404)
        return whole(200, self.picture.data, self.picture.content_type, **more)


def whole(status: int, body: bytes, content_type: str | None, **more: str) -> bytes:
    """Head and body."""
    return head(status, len(body), content_type, **more) + body


def head(status: int, length: int | None, content_type: str | None, version: str = "1.1", **more: str) -> bytes:
    """The status line and the fields, the empty line included; no length and no type where these are None."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    if length is not None:
        fields["Content-Length"] = str(length)
    if content_type is not None:
        fields["Content-Type"] = content_type
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/{version} {status} {reason(status)}\r\n{lines}\r\n".encode("latin-1")


def refusal(status: int, **more: str) -> bytes:
    """A line of text that says the status; one that must have no body has none."""
    bodiless = status < 200 or status in (204, 304)
    if bodiless:
        return head(status, None, None, **more)
    return whole(status, f"{status} {reason(status)}\n".encode(), PLAIN, **more)


def redirect(status: int, location: str, **more: str) -> bytes:
    return whole(status, b"", PLAIN, Location=location, **more)


def reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unheard Of"  # a status that no standard knows
