"""The class vocabulary: what a class index means, and which classes lie directly above it.

Reads both forms of the published `dictionary_and_semantic_hierarchy.txt`, tab separated, one class a line:

    category_index  category_id  index_of_parent_category  category name     (with or without this header)
    category_id  parent  category name                                       (the first release; no header, no index)

In the first release the parent was a row number, too (its row 4 is `n05220461 0 body part`, below row 0 `thing`).
Hand-made files in that form name the parent by id instead, so a parent is looked up as a row number first and as an
id second. Our extension: several parents are separated by commas (`12,40`); `-1` alone stands for a root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.formats.text import read_lines
from ml_images.hierarchy.order import depths, find_cycle, spell, spell_cycle

_COLUMNS = {
    3: "category_id, parent, category name",
    4: "category_index, category_id, index_of_parent_category, category name",
}
_ROOT = "-1"


@dataclass(frozen=True)
class Vocabulary:
    """Class c has the id `ids[c]` (wnid or MID), the synonyms `names[c]` and the direct parents `parents[c]`."""

    ids: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.names) == len(self.parents)

    @property
    def num_classes(self) -> int:
        return len(self.ids)


def parse_vocabulary(data: bytes, source: str) -> Vocabulary:
    """The vocabulary in a file's bytes; `source` is what messages call the file.

    Raises InputError (`source:line: ...`) for the first mistake: invalid UTF-8, a wrong number of columns, an index
    that is not the row number, an empty or repeated id, an empty name, a parent that does not exist, is the class
    itself or is given twice, and a cycle.
    """
    lines = read_lines(data, source)
    first = 2 if lines and lines[0].split("\t")[0] == "category_index" else 1  # 1-based line of row 0
    lines = lines[first - 1 :]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{source}:{first}: no classes, expected lines of tab-separated {_COLUMNS[4]}")
    columns = 3 if first == 1 and lines[0].count("\t") == 2 else 4
    fields = "\t".join(lines).split("\t")  # a list a line would take twice as long
    ids, above, names = (tuple(fields[column::columns]) for column in range(columns - 3, columns))
    rows = range(len(lines))
    numbers = list(map(str, rows))
    are_whole = {line.count("\t") for line in lines} == {columns - 1} and all(map(str.strip, names))
    if not are_whole or (columns == 4 and fields[::4] != numbers):
        row, mistake = _field_mistake(lines, columns)
        raise InputError(f"{source}:{first + row}: {mistake}")
    if found := _id_mistake(ids, first):
        raise InputError(f"{source}:{first + found[0]}: {found[1]}")

    row_of = dict(zip(ids, rows, strict=True))
    row_of.update(zip(numbers, rows, strict=True))
    parents = tuple(
        [  # nearly all the first way, in half of the time
            (row_of[field],)
            if field in row_of and "," not in field and field != _ROOT
            else _parents(field, row_of, f"{source}:{line}")
            for line, field in enumerate(above, first)
        ]
    )
    if found := _parent_mistake(ids, parents):
        raise InputError(f"{source}:{first + found[0]}: {found[1]}")
    return Vocabulary(ids, tuple([tuple(field.split(", ")) for field in names]), parents)


def to_table(vocabulary: Vocabulary) -> pa.Table:
    """One row a class by schemas.VOCABULARY, in the order of the classes."""
    columns = [
        pa.array(np.arange(vocabulary.num_classes, dtype=np.int32)),
        pa.array(vocabulary.ids, pa.string()),
        _lists(vocabulary.names, pa.string()),
        _lists(vocabulary.parents, pa.int32()),
        pa.array(depths(vocabulary.parents)),
    ]
    return pa.Table.from_arrays(columns, schema=schemas.VOCABULARY)


def _lists(items: Sequence[Sequence[object]], kind: pa.DataType) -> pa.ListArray:
    """As pa.array, in a third of the time."""
    ends = np.cumsum([0, *map(len, items)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(list(chain.from_iterable(items)), kind))


def parents_of(table: pa.Table) -> list[list[int]]:
    """The direct parents of each class of a table by schemas.VOCABULARY; a tenth of the time of `to_pylist`."""
    lists = table["parents"].combine_chunks()
    ends, flat = lists.offsets.to_pylist(), lists.values.to_pylist()
    return [flat[start:end] for start, end in pairwise(ends)]


def _field_mistake(lines: Sequence[str], columns: int) -> tuple[int, str]:
    """(row, message) of the first line that is not as it should be; there is one."""
    for row, fields in enumerate(line.split("\t") for line in lines):
        if len(fields) != columns:
            return row, f"expected {columns} tab-separated columns ({_COLUMNS[columns]}), got {len(fields)}"
        if columns == 4 and fields[0] != str(row):
            return row, f"category_index must be the row number {row}, got {fields[0][:40]!r}"
        if not fields[-1].strip():
            return row, "empty category name"
    raise AssertionError("all lines are as they should be")


def _id_mistake(ids: Sequence[str], first: int) -> tuple[int, str] | None:
    """(row, message) of the first empty or repeated id."""
    seen: dict[str, int] = {}
    for row, id in enumerate(ids):
        if not id.strip():
            return row, "empty category_id"
        if seen.setdefault(id, row) != row:
            return row, f"duplicate category_id {id[:40]!r}, first on line {first + seen[id]}"
    return None


def _parents(field: str, row_of: dict[str, int], place: str) -> tuple[int, ...]:
    """The parents that a field names, by row number or by id. Raises InputError for what names no row."""
    items = [item.strip() for item in field.split(",")]
    if items == [_ROOT]:
        return ()
    for item in items:
        if item == _ROOT:
            raise InputError(f"{place}: -1 (a root) cannot stand beside other parents, got {field[:80]!r}")
        if item not in row_of:
            accepted = f"a row number 0..{len(set(row_of.values())) - 1}, an id of this file or -1 (a root)"
            raise InputError(f"{place}: parent {item[:40]!r} does not exist, expected {accepted}")
    return tuple(row_of[item] for item in items)


def _parent_mistake(ids: Sequence[str], parents: Sequence[Sequence[int]]) -> tuple[int, str] | None:
    """(row, message) of the first class with an impossible parent, or of the first class of a cycle."""
    for row, above in enumerate(parents):
        if row in above:
            return row, f"{spell(ids[row])} is its own parent"
        if len(above) > 1 and len(set(above)) != len(above):
            twice = next(parent for i, parent in enumerate(above) if parent in above[:i])
            return row, f"{spell(ids[row])} has the same parent twice: {spell(ids[twice])}"
    if cycle := find_cycle(parents):
        return cycle[0], spell_cycle(ids, cycle)
    return None
