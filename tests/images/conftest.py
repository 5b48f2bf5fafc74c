"""Colour profiles with known numbers, written by hand: ICC.1:2010, version 2, matrix and gamma."""

import struct

import pytest

# Columns of the way from linear RGB to XYZ under D50.
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.4360747, 0.2225045, 0.0139322), (0.3850649, 0.7168786, 0.0971045), (0.1430804, 0.0606169, 0.7141733))
_WHITE = (0.9642, 1.0, 0.8249)


@pytest.fixture(scope="session")
def p3_profile() -> bytes:
    """The primaries of Display P3 with a gamma of 2.2."""
    return _profile(b"RGB ", _colours(P3) | {b"rTRC": _gamma(2.2), b"gTRC": _gamma(2.2), b"bTRC": _gamma(2.2)})


@pytest.fixture(scope="session")
def grey_profile() -> bytes:
    """Grey with a gamma of 1.8."""
    return _profile(b"GRAY", {b"kTRC": _gamma(1.8)})


def _colours(primaries: tuple[tuple[float, ...], ...]) -> dict[bytes, bytes]:
    return {name: _xyz(values) for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_WHITE)} | tags
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), bytes(4), 2 << 24, b"mntr", space, b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(68 - len(head)) + _xyz(_WHITE)[8:]
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body
