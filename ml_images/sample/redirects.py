"""Faults that send the client somewhere else."""

from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote, urlsplit

from ml_images.sample.answers import PLAIN, UNAVAILABLE, Asked, redirect, refusal, whole


def elsewhere(asked: Asked) -> bytes:
    """To the picture at the same port of the host that the value names."""
    url = urlsplit(asked.base_url)
    return redirect(302, f"{url.scheme}://{asked.value or url.hostname}:{url.port}{asked.healthy}")


def hops(asked: Asked) -> bytes:
    left = asked.number(1) - 1
    return redirect(302, asked.other(f"hops={left}") if left > 0 else asked.healthy)


def credentials(asked: Asked) -> bytes:
    scheme, _, host = asked.base_url.partition("://")
    return redirect(302, f"{scheme}://user:secret@{host}{asked.other('anonymous')}")


def anonymous(asked: Asked) -> bytes:
    return refusal(400) if "authorization" in asked.fields else asked.sent()


def raw_location(asked: Asked) -> bytes:
    """The path as UTF-8 bytes and with spaces, as careless servers send it."""
    path = unquote(asked.healthy).encode()
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + path + b"\r\n\r\n"


def relative(asked: Asked) -> bytes:
    climb = "../" * (asked.other("relative").count("/") - 1 - asked.copy.count("/"))
    return redirect(302, f"{climb}./{asked.place}")


def _to(location: str) -> Callable[[Asked], bytes]:
    return lambda asked: redirect(302, location)


BEHAVIOURS: Mapping[str, Callable[[Asked], bytes]] = {
    "redirect": lambda asked: redirect(asked.number(302), asked.healthy),
    "moved": lambda asked: redirect(302, asked.other("moved_again")),
    "moved_again": lambda asked: redirect(301, asked.healthy),
    "circular": lambda asked: redirect(302, asked.other("circular")),
    "ping": lambda asked: redirect(302, asked.other("pong")),
    "pong": lambda asked: redirect(302, asked.other("ping")),
    "hops": hops,
    "elsewhere": elsewhere,
    "relative": relative,
    "raw_location": raw_location,
    "credentials": credentials,
    "anonymous": anonymous,
    "no_location": lambda asked: whole(302, b"", PLAIN),
    "broken_location": _to("http://[::nowhere/"),
    "to_file": _to("file:///etc/passwd"),
    "to_ftp": _to("ftp://127.0.0.1/picture.jpg"),
    "to_script": _to("javascript:alert(1)"),
    "to_metadata": _to("http://169.254.169.254/latest/meta-data/"),
    "to_private": _to("http://10.0.0.1/"),
    "to_mapped": _to("http://[::ffff:10.0.0.1]/"),
    "unavailable": _to(f"/{quote(UNAVAILABLE)}"),
    "flickr": lambda asked: redirect(302, f"{asked.base_url}/pw/images/en-us/{UNAVAILABLE}"),
    "moved_unavailable": lambda asked: redirect(301, asked.other("flickr")),
}
