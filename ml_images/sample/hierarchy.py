"""The classes of the miniature world: shapes, colours, backdrops, and things that are a shape and a colour at once.

Three roots, six levels, fourteen classes with two parents. Like the real vocabulary it has one forward reference:
`triangle` stands before its parent `pointed figure`, so a reader that trusts the order of the rows gets this one wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

# (short name, synonyms as in the vocabulary file, short names of the parents), in class order.
_ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("thing", "thing, object", ()),
    ("colour", "colour, color", ()),
    ("scene", "scene, backdrop", ()),
    ("figure", "figure, shape", ("thing",)),
    ("round", "round figure, curved figure", ("figure",)),
    ("angular", "angular figure, polygon", ("figure",)),
    ("warm", "warm colour", ("colour",)),
    ("cool", "cool colour", ("colour",)),
    ("neutral", "neutral colour, achromatic color", ("colour",)),
    ("circle", "circle, disc, disk", ("round",)),
    ("ring", "ring, annulus", ("round",)),
    ("square", "square, foursquare", ("angular",)),
    ("cross", "cross, plus sign", ("angular",)),
    ("triangle", "triangle, trigon", ("pointed",)),
    ("pointed", "pointed figure, spiky figure", ("angular",)),
    ("star", "star, pentagram", ("pointed",)),
    ("red", "red, redness", ("warm",)),
    ("orange", "orange, orangeness", ("warm",)),
    ("yellow", "yellow, yellowness", ("warm",)),
    ("green", "green, greenness", ("cool",)),
    ("blue", "blue, blueness", ("cool",)),
    ("purple", "purple, purpleness", ("cool",)),
    ("white", "white, whiteness", ("neutral",)),
    ("grey", "grey, gray", ("neutral",)),
    ("day", "day, bright scene", ("scene",)),
    ("night", "night, dark scene", ("scene",)),
    ("plain", "plain scene", ("scene",)),
    ("patterned", "patterned scene", ("scene",)),
    ("stripes", "stripes, striped scene", ("patterned",)),
    ("dots", "dots, dotted scene", ("patterned",)),
    ("sun", "sun, yellow disc", ("circle", "yellow")),
    ("tomato", "tomato, red disc", ("circle", "red")),
    ("wheel", "wheel, grey ring", ("ring", "grey")),
    ("life ring", "life ring, ring buoy, orange ring", ("ring", "orange")),
    ("window", "window, blue square", ("square", "blue")),
    ("die", "die, dice, white square", ("square", "white")),
    ("clover", "four-leaf clover, green cross", ("cross", "green")),
    ("first-aid sign", "first-aid sign, red cross", ("cross", "red")),
    ("fir tree", "fir tree, green triangle", ("triangle", "green")),
    ("traffic cone", "traffic cone, orange triangle", ("triangle", "orange")),
    ("starfish", "starfish, sea star, purple star", ("star", "purple")),
    ("snowflake", "snowflake, white star", ("star", "white")),
    ("awning", "awning, striped day", ("day", "stripes")),
    ("starry sky", "starry sky, dotted night", ("night", "dots")),
)

INDEX: Mapping[str, int] = {row[0]: i for i, row in enumerate(_ROWS)}

# Things that are a shape and a colour at once, and (backdrop, pattern) pairs that have a name.
NAMED_THINGS: Mapping[tuple[str, str], str] = {
    (parents[0], parents[1]): name
    for name, _, parents in _ROWS
    if len(parents) == 2 and parents[0] not in ("day", "night")
}
NAMED_SCENES: Mapping[tuple[str, str], str] = {
    (parents[0], parents[1]): name for name, _, parents in _ROWS if len(parents) == 2 and parents[0] in ("day", "night")
}


@dataclass(frozen=True)
class Row:
    """One class: made-up wnid, synonyms, parent classes (none for a root)."""

    id: str
    names: tuple[str, ...]
    parents: tuple[int, ...]


# Real WordNet offsets end at n15300051, so an id from n9... is nobody else's.
CLASSES: tuple[Row, ...] = tuple(
    Row(f"n{90_000_000 + 1_237 * i}", tuple(names.split(", ")), tuple(INDEX[parent] for parent in parents))
    for i, (_, names, parents) in enumerate(_ROWS)
)


@cache
def ancestors(klass: int) -> tuple[int, ...]:
    """All classes above `klass`, nearest first, each once."""
    found: list[int] = []
    level = CLASSES[klass].parents
    while level:
        found += [parent for parent in dict.fromkeys(level) if parent not in found]
        level = tuple(grandparent for parent in level for grandparent in CLASSES[parent].parents)
    return tuple(found)


def closed_max(tags: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Labels with all ancestors added; a class gets the highest confidence of its own tags and of its descendants'."""
    closed: dict[int, float] = {}
    for klass, confidence in tags:
        for member in (klass, *ancestors(klass)):
            closed[member] = max(closed.get(member, 0.0), confidence)
    return dict(sorted(closed.items()))


def vocabulary_text() -> str:
    """The 4-column vocabulary file; several parents are listed with commas, our documented extension of the format."""
    rows = [f"{i}\t{row.id}\t{_parents(row)}\t{', '.join(row.names)}" for i, row in enumerate(CLASSES)]
    return "\n".join(["category_index\tcategory_id\tindex_of_parent_category\tcategory name", *rows]) + "\n"


def vocabulary_text_3_columns() -> str:
    """The older file: no header, no index column; the row number is the class."""
    return "".join(f"{row.id}\t{_parents(row)}\t{', '.join(row.names)}\n" for row in CLASSES)


def _parents(row: Row) -> str:
    return ",".join(map(str, row.parents)) or "-1"
