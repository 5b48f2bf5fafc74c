"""Text with one relation a line: `parent child`, or `child parent` (known as "is-a").

Two ids stand on a line, with a tab between them or, where neither holds a space, any white space. Blank lines are
skipped, a relation given twice counts once. The order of classes never depends on which relation comes first where
ids are numbers: then it is ascending by value, so that ids 0..n-1 are the classes themselves (CIFAR-100's labels).
Other ids have the order of their first appearance, read from left to right.
"""

import re
from collections.abc import Sequence

from ml_images.errors import InputError
from ml_images.hierarchy.formats.edges import assemble
from ml_images.hierarchy.formats.text import read_lines
from ml_images.hierarchy.vocabulary import Vocabulary

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)  # 18 digits: an int64


def parse_parent_child(data: bytes, source: str) -> Vocabulary:
    """The hierarchy in lines `parent child`; a class is named by its id.

    Raises InputError (`source:line: ...`) for invalid UTF-8, a line without exactly two ids, two spellings of a number,
    a header or a `-1` where all other ids are numbers, a class that is its own parent, and a cycle.
    """
    return _parse(data, source, "parent and child", child_at=1)


def parse_child_parent(data: bytes, source: str) -> Vocabulary:
    """The hierarchy in lines `child parent`; otherwise as parse_parent_child."""
    return _parse(data, source, "child and parent", child_at=0)


def _parse(data: bytes, source: str, columns: str, child_at: int) -> Vocabulary:
    first_line: dict[str, int] = {}  # of each id
    pairs: list[tuple[int, list[str]]] = []
    for number, line in enumerate(read_lines(data, source), 1):
        if not line.strip():
            continue
        pair = _split(line)
        if len(pair) != 2 or not all(pair):
            expected = f"expected two ids, {columns}, with a tab or (ids without spaces) white space between them"
            raise InputError(f"{source}:{number}: {expected}, got {line[:60]!r}")
        pairs.append((number, pair))
        for id in pair:
            first_line.setdefault(id, number)
    if not pairs:
        raise InputError(f"{source}:1: no classes, expected one pair of ids a line, {columns}")

    rest = {id for _, pair in pairs[1:] for id in pair}
    header = [id for id in pairs[0][1] if id not in rest]  # what only the first line has
    ids = _in_order(list(first_line), header if len(header) == 2 else [], first_line, source)
    index = {id: c for c, id in enumerate(ids)}
    edges: dict[tuple[int, int], str] = {}
    for number, pair in pairs:
        edges.setdefault((index[pair[child_at]], index[pair[1 - child_at]]), f"{source}:{number}")
    return assemble(ids, [(id,) for id in ids], edges)


def _split(line: str) -> list[str]:
    return [id.strip() for id in line.split("\t")] if "\t" in line.strip() else line.split()


def _in_order(ids: list[str], header: list[str], first_line: dict[str, int], source: str) -> Sequence[str]:
    """Ascending if all are numbers. Raises InputError for numbers that are spelled in two ways (`7` and `07`), and for
    what looks like no class: it would renumber all of them."""
    others = [id for id in ids if not _NUMBER.fullmatch(id)]
    if others and others != ids and others in (["-1"], header):
        raise InputError(
            f"{source}:{first_line[others[0]]}: {others[0]!r} is no number, which all other ids are: a header is not "
            "expected, nor a mark of roots, which just have no parent"
        )
    if others:
        return ids
    spelling: dict[int, str] = {}
    for id in ids:
        if (other := spelling.setdefault(int(id), id)) != id:
            place = f"{source}:{first_line[id]}"
            raise InputError(
                f"{place}: the number {int(id)} is spelled {id!r}, but {other!r} on line {first_line[other]}"
            )
    return [spelling[number] for number in sorted(spelling)]
