"""Keys as names of files: nothing that a file system, a shell or WebDataset could take for something else.

Letters, digits, `-` and `_` stay; every other byte of the key's UTF-8 is %XX, the dot too, at which WebDataset cuts the
name, and the slash. So is the first letter of a name that Windows takes for a device (CON, nul). So two keys never
have one name, and a name says its key. One that would be longer than MAX_NAME (or empty) is cut and ends with %- and
128 bits of its BLAKE2b: then only what lies beside the picture says the key.

Keys that differ only by case have names that do: two files on Linux and in object stores, one where the file system
takes A for a (macOS, Windows).
"""

import re
from hashlib import blake2b

MAX_NAME = 180  # bytes; file systems take 255, of which an ending and the name of a staged file want 40

_MARK = "%-"  # no key gives that: a % is followed by two digits
_DIGEST_BYTES = 16
_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
# Windows takes these for devices, whatever the ending, and archives/names.py refuses them for that.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z", re.IGNORECASE)
_ENCODED = re.compile(r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+")


def safe_name(key: str) -> str:
    """The name without an ending: ASCII, 1 to MAX_NAME characters."""
    text = key.encode()
    name = _UNSAFE.sub(_encoded, text).decode()
    if _DEVICE.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if 0 < len(name) <= MAX_NAME:
        return name
    end = _MARK + blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
    return name[: MAX_NAME - len(end)] + end


def key_of(name: str) -> str | None:
    """The key that `safe_name` made the name of; None for a name that was cut, or that it never makes."""
    if not _ENCODED.fullmatch(name):
        return None
    text = re.sub(rb"%(..)", lambda found: bytes.fromhex(found[1].decode()), name.encode())
    try:
        key = text.decode()
    except UnicodeDecodeError:
        return None
    return key if safe_name(key) == name else None


def _encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
