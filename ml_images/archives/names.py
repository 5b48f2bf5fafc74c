"""Which keys a member of an archive answers to, and which member names are refused.

A member's place is the name of its archive without endings, the names of inner archives without theirs, and its path:
n02084071_9.JPEG of n02084071.tar of fall11_whole.tar lies at fall11_whole/n02084071/n02084071_9.JPEG. A key names it if

1. the key is the end of the place, whole components only: n02084071/n02084071_9.JPEG, n02084071_9.JPEG;
2. or the key is WNID/WNID_....: such a file name says its folder itself, so the file is found wherever it lies.

In both the key may lack the file's ending (Open Images' 000a1249af2bc5f0, ImageNet's n02084071_9), unless what is left
ends in what looks like one (1704.04861), and may begin with ./ or /. Nothing else is the same: case counts, and
cats/1.jpg is not dogs/1.jpg. A key of a file name alone (and no WNID) that stands for files of different content is
ambiguous and names none of them. A byte of a name that is no UTF-8 is the text \\xNN, in keys as in what is told:
gr\\xf6\\xdfe.jpg.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ENDING = re.compile(r"(?<=[^./])\.[A-Za-z0-9]{1,5}$")
_SYNSET = re.compile(r"(n\d{8})_")
_ARCHIVE = re.compile(r"\.(?:tar|tgz|tbz2?|txz|tzst|zip)$|\.tar\.(?:gz|bz2|xz|zst)$", re.IGNORECASE)
# Windows opens these as devices, whatever ending follows; a drive is a letter and a colon.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?$", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_MAX_NAME = 4096  # characters; Linux' PATH_MAX


class Shape(NamedTuple):
    """What all keys of a list that are spelled alike have in common: most lists have one shape."""

    prefix: str  # "", "/" or "./"
    folders: int
    has_ending: bool


def shape_of(key: str) -> Shape | None:
    """The shape of a key; None for one that no member can have: empty, with .. or with empty components."""
    prefix = "./" if key.startswith("./") else "/" if key.startswith("/") else ""
    components = key[len(prefix) :].split("/")
    if any(component in ("", ".", "..") for component in components):
        return None
    return Shape(prefix, len(components) - 1, _ENDING.search(components[-1]) is not None)


def has_ending(key: str) -> bool:
    """Does the key say how the file's name ends?"""
    shape = shape_of(key)
    return shape is not None and shape.has_ending


def is_bare(key: str) -> bool:
    """Is the key a file name alone that says no synset? Then different files may well have it, and none is the one."""
    shape = shape_of(key)
    return shape is not None and shape.folders == 0 and not _SYNSET.match(key[len(shape.prefix) :])


def text_of(name: bytes | str) -> str:
    """A name, or a path as Python has it, as text that can be stored: bytes that are no UTF-8 as \\xNN."""
    known = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return known.decode("utf-8", "backslashreplace")


def is_archive_name(name: str) -> bool:
    """Does the name end as that of an archive that we open?"""
    return _ARCHIVE.search(name) is not None


def stem_of(name: str) -> str:
    """The last component of an archive's name, without the endings that make it an archive."""
    return _ARCHIVE.sub("", name.rstrip("/").rsplit("/", 1)[-1])


def components_of(name: str) -> list[str]:
    """The components of a member's path. `..` stays, so that it counts as a component that no key has."""
    return [component for component in name.split("/") if component not in ("", ".")]


def keys_of(place: Sequence[str], shapes: frozenset[Shape]) -> Iterator[str]:
    """Every key of one of `shapes` that names the member at `place`."""
    if not place:
        return
    file = place[-1]
    ending = _ENDING.search(file)
    synset = _SYNSET.match(file)
    for shape in shapes:
        if shape.has_ending and not ending:
            continue
        name = file[: ending.start()] if ending and not shape.has_ending else file
        if shape.folders < len(place):
            yield shape.prefix + "/".join([*place[len(place) - 1 - shape.folders : -1], name])
        if synset and shape.folders == 1 and (len(place) < 2 or place[-2] != synset[1]):
            yield f"{shape.prefix}{synset[1]}/{name}"


def danger_of(name: str) -> str | None:
    """Why a member of this name is not touched, None for an honest name."""
    if len(name) > _MAX_NAME:
        return f"name of {len(name)} characters"
    if "\0" in name:
        return "name with a zero byte"
    if name.startswith("/") or _DRIVE.match(name):
        return "absolute name"
    components = name.split("/")
    if ".." in components:
        return "name that leaves its folder"
    if any(_DEVICE.match(component) for component in components):
        return "name of a device"
    return None
