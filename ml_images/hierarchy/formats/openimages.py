"""Open Images' `bbox_labels_600_hierarchy.json`: nested objects `{LabelName, Subcategory: [...], Part: [...]}`.

Only Subcategory makes a class lie below another. Part does not (a building "has" laptops, but is none of them); what
stands in a Part list is a class all the same, and a root if it stands nowhere else. A class printed several times is
one class with all the parents of its occurrences. Classes have the order of their first occurrence, reading depth
first, Subcategory before Part.
"""

import json
from typing import Any

from ml_images.errors import InputError
from ml_images.hierarchy.formats.edges import assemble
from ml_images.hierarchy.formats.text import read_text
from ml_images.hierarchy.vocabulary import Vocabulary

_LISTS = ("Subcategory", "Part")


def parse_openimages(data: bytes, source: str) -> Vocabulary:
    """The hierarchy in Open Images' JSON; a class is named by its id, since the file holds no names.

    Raises InputError (`source:line: ...`, or the way to the object) for invalid UTF-8 and JSON, an object without a
    LabelName, a list that is none, a class that is its own parent, and a cycle.
    """
    index: dict[str, int] = {}
    edges: dict[tuple[int, int], str] = {}
    waiting: list[tuple[Any, str, int]] = [(_load(data, source), "", -1)]  # (object, way to it, its parent or -1)
    while waiting:
        node, way, parent = waiting.pop()
        place = f"{source}: {way[1:] or 'the outermost object'}"
        c = index.setdefault(_label(node, place), len(index))
        if parent >= 0:
            edges.setdefault((c, parent), place)
        below: list[tuple[Any, str, int]] = []
        for key in _LISTS:
            items = node.get(key, [])
            if not isinstance(items, list):
                raise InputError(f"{place}: {key} must be a list, got {type(items).__name__}")
            by = c if key == "Subcategory" else -1
            below.extend((item, f"{way}.{key}[{i}]", by) for i, item in enumerate(items))
        waiting.extend(reversed(below))
    return assemble(list(index), [(id,) for id in index], edges)


def _load(data: bytes, source: str) -> Any:
    text = read_text(data, source)
    try:
        return json.loads(text, parse_int=float)  # int refuses more than 4,300 digits; no number is wanted anyway
    except json.JSONDecodeError as error:
        raise InputError(f"{source}:{error.lineno}: not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise InputError(f"{source}: not a class hierarchy: JSON nested too deeply") from None


def _label(node: Any, place: str) -> str:
    if not isinstance(node, dict):
        raise InputError(f"{place}: expected an object with LabelName, Subcategory and Part, got {type(node).__name__}")
    label = node.get("LabelName")
    # JSON can spell line ends and halves of characters (\ud800), which no table and no message can hold.
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        got = f"{label[:40]!r}" if isinstance(label, str) else f"keys {[key[:20] for key in list(node)[:5]]}"
        raise InputError(f"{place}: LabelName must be an id such as '/m/0bl9f', got {got}")
    return label
