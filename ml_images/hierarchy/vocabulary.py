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
from itertools import pairwise

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
    rows = [line.split("\t") for line in lines[first - 1 :]]
    if not rows:
        raise InputError(f"{source}:{first}: no classes, expected lines of tab-separated {_COLUMNS[4]}")
    columns = 3 if first == 1 and len(rows[0]) == 3 else 4
    for row, fields in enumerate(rows):
        if mistake := _field_mistake(row, fields, columns):
            raise InputError(f"{source}:{first + row}: {mistake}")

    ids = tuple(fields[-3] for fields in rows)
    if found := _id_mistake(ids, first):
        raise InputError(f"{source}:{first + found[0]}: {found[1]}")
    row_of = {**{id: row for row, id in enumerate(ids)}, **{str(row): row for row in range(len(rows))}}
    parents = tuple(_parents(fields[-2], row_of, f"{source}:{first + row}") for row, fields in enumerate(rows))
    if found := _parent_mistake(ids, parents):
        raise InputError(f"{source}:{first + found[0]}: {found[1]}")
    return Vocabulary(ids, tuple(tuple(fields[-1].split(", ")) for fields in rows), parents)


def to_table(vocabulary: Vocabulary) -> pa.Table:
    """One row a class by schemas.VOCABULARY, in the order of the classes."""
    columns = [
        pa.array(range(vocabulary.num_classes), pa.int32()),
        pa.array(vocabulary.ids, pa.string()),
        pa.array(vocabulary.names, pa.list_(pa.string())),
        pa.array(vocabulary.parents, pa.list_(pa.int32())),
        pa.array(depths(vocabulary.parents), pa.int32()),
    ]
    return pa.Table.from_arrays(columns, schema=schemas.VOCABULARY)


def parents_of(table: pa.Table) -> list[list[int]]:
    """The direct parents of each class of a table by schemas.VOCABULARY; a tenth of the time of `to_pylist`."""
    lists = table["parents"].combine_chunks()
    ends, flat = lists.offsets.to_pylist(), lists.values.to_pylist()
    return [flat[start:end] for start, end in pairwise(ends)]


def _field_mistake(row: int, fields: list[str], columns: int) -> str | None:
    if len(fields) != columns:
        return f"expected {columns} tab-separated columns ({_COLUMNS[columns]}), got {len(fields)}"
    if columns == 4 and fields[0] != str(row):
        return f"category_index must be the row number {row}, got {fields[0][:40]!r}"
    if not fields[-1].strip():
        return "empty category name"
    return None


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
    if field in row_of and field != _ROOT and "," not in field:  # nearly all; a fifth of the time for the file
        return (row_of[field],)
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
        if len(set(above)) != len(above):
            twice = next(parent for i, parent in enumerate(above) if parent in above[:i])
            return row, f"{spell(ids[row])} has the same parent twice: {spell(ids[twice])}"
        for parent in above:
            if not 0 <= parent < len(ids):
                return row, f"parent {parent} does not exist, expected 0..{len(ids) - 1}"
    if cycle := find_cycle(parents):
        return cycle[0], spell_cycle(ids, cycle)
    return None
