"""Names of classes that stand in a file of their own: an id and a name a line.

What stands between them is decided by the first line: the first tab, comma or space in it. Commas make it CSV (a name
that holds a comma is quoted), as Open Images' class-descriptions, with its header `LabelName,DisplayName` or without.
"""

import csv
import re

from ml_images.errors import InputError
from ml_images.hierarchy.formats.text import read_lines

_SEPARATOR = re.compile("[\t, ]")
_HEADER = ["LabelName", "DisplayName"]


def parse_names(data: bytes, source: str) -> dict[str, str]:
    """id -> name, in the order of the file; blank lines are skipped.

    Raises InputError (`source:line: ...`) for invalid UTF-8, a line without an id and a name, CSV that is none, and an
    id with two names.
    """
    lines = [(number, line) for number, line in enumerate(read_lines(data, source), 1) if line.strip()]
    if not lines:
        raise InputError(f"{source}:1: no names, expected an id and a name a line")
    found = _SEPARATOR.search(lines[0][1].strip())
    separator = found[0] if found else " "
    names: dict[str, str] = {}
    for number, line in lines:
        place = f"{source}:{number}"
        fields = _split(line, separator, place)
        if number == lines[0][0] and fields == _HEADER:
            continue
        if len(fields) != 2 or not all(fields):
            between = {"\t": "a tab", ",": "a comma (a name that holds one is quoted)", " ": "a space"}[separator]
            raise InputError(f"{place}: expected an id and a name with {between} between them, got {line[:60]!r}")
        id, name = fields
        if names.setdefault(id, name) != name:
            raise InputError(f"{place}: {id[:40]!r} has two names, {names[id][:40]!r} and {name[:40]!r}")
    return names


def _split(line: str, separator: str, place: str) -> list[str]:
    if separator != ",":
        return [field.strip() for field in line.split(None if separator == " " else separator, maxsplit=1)]
    try:
        return [field.strip() for field in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InputError(f"{place}: not CSV: {error}") from None
