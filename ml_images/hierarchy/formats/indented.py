"""Indented text: one class a line, two dashes a level, a space, the name. A line without dashes is a root.

    entity
    -- organism
    ---- animal
    -- artifact

The name is the id, too: nothing else identifies a class here, so it must not be repeated, and no class has several
parents. Blank lines are skipped; classes have the order of their lines.
"""

from ml_images.errors import InputError
from ml_images.hierarchy.formats.edges import assemble
from ml_images.hierarchy.formats.text import read_lines
from ml_images.hierarchy.vocabulary import Vocabulary


def parse_indented(data: bytes, source: str) -> Vocabulary:
    """The hierarchy in indented text; several roots may follow each other.

    Raises InputError (`source:line: ...`) for invalid UTF-8, an odd number of dashes, a level that is more than one
    below the line before, indentation by white space, an empty and a repeated name.
    """
    line_of: dict[str, int] = {}
    edges: dict[tuple[int, int], str] = {}
    above: list[int] = []  # the classes from the root to the line before
    for number, line in enumerate(read_lines(data, source), 1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        level, name = _split(line, place)
        if level > len(above):
            raise InputError(f"{place}: {2 * level} dashes, but at most {2 * len(above)} can follow the line before")
        if line_of.setdefault(name, number) != number:
            raise InputError(f"{place}: {name[:40]!r} is repeated, first on line {line_of[name]}")
        c = len(line_of) - 1
        if level > 0:
            edges[c, above[level - 1]] = place
        above[level:] = [c]
    if not line_of:
        raise InputError(f"{source}:1: no classes, expected one name a line, indented by two dashes a level")
    return assemble(list(line_of), [(name,) for name in line_of], edges)


def _split(line: str, place: str) -> tuple[int, str]:
    """(level, name) of a line."""
    name = line.lstrip("-")
    dashes = len(line) - len(name)
    if name[:1].isspace() != (dashes > 0) or dashes % 2 or not name.strip():
        raise InputError(
            f"{place}: expected two dashes a level, a space (after dashes only), a name; got {line[:60]!r}"
        )
    return dashes // 2, name.strip()
