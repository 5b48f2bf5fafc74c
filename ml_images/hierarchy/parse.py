"""One door to every form in which a hierarchy is published; decides from the content which form a file has.

Pair files cannot be recognised: whether a line is `parent child` or `child parent` is known to their owner only.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from ml_images.errors import InputError
from ml_images.hierarchy.formats import wordnet
from ml_images.hierarchy.formats.indented import parse_indented
from ml_images.hierarchy.formats.openimages import parse_openimages
from ml_images.hierarchy.formats.pairs import parse_child_parent, parse_parent_child
from ml_images.hierarchy.formats.text import read_lines
from ml_images.hierarchy.vocabulary import Vocabulary, parse_vocabulary

Format = Literal["auto", "tencent", "parent_child", "child_parent", "indented", "openimages", "wordnet"]

_PARSERS: dict[str, Callable[[bytes, str], Vocabulary]] = {
    "tencent": parse_vocabulary,
    "parent_child": parse_parent_child,
    "child_parent": parse_child_parent,
    "indented": parse_indented,
    "openimages": parse_openimages,
    "wordnet": wordnet.parse_wordnet,
}
_INDENTED = re.compile("(--)+ ")


def parse_hierarchy(
    data: bytes, source: str, format: Format = "auto", names: Mapping[str, str] | None = None
) -> Vocabulary:
    """The vocabulary in a file's (decompressed) bytes; `source` is what messages call the file.

    names: id -> name (`names.parse_names`), instead of the names in the file; a class without an entry keeps those
    (its id, where the file has none). Raises InputError for the first mistake in the file, for content that no form
    is recognised in, and for `names` that name none of the classes; ValueError for an unknown format.
    """
    if format != "auto" and format not in _PARSERS:
        raise ValueError(f"format must be one of auto, {', '.join(_PARSERS)}, got {format!r}")
    vocabulary = _PARSERS[_recognise(data, source) if format == "auto" else format](data, source)
    return vocabulary if names is None else _renamed(vocabulary, names, source)


def _recognise(data: bytes, source: str) -> str:
    """The form that the content has."""
    lines = [line for line in read_lines(data, source) if line.strip()]
    if not lines:
        raise InputError(f"{source}:1: no classes, the file is blank")
    first = lines[0]
    if first.lstrip()[0] in "{[":
        return "openimages"
    if first.startswith(wordnet.LICENCE) or wordnet.SYNSET.match(first):
        return "wordnet"
    if first.count("\t") in (2, 3):
        return "tencent"
    if any(map(_INDENTED.match, lines)):
        return "indented"
    if len(first.split()) == 2 or first.count("\t") == 1:
        raise InputError(
            f"{source}: pairs of ids do not show which is the parent; "
            "say vocabulary_format=parent_child (each line: parent, child) or vocabulary_format=child_parent"
        )
    raise InputError(f"{source}: no form of a hierarchy is recognised; say vocabulary_format={', '.join(_PARSERS)}")


def _renamed(vocabulary: Vocabulary, names: Mapping[str, str], source: str) -> Vocabulary:
    if not any(id in names for id in vocabulary.ids):
        some = f"{next(iter(names), 'none')[:40]!r}, the classes are {vocabulary.ids[0][:40]!r}"
        raise InputError(f"{source}: none of the {len(names)} names belongs to a class: they are for ids as {some}")
    own = zip(vocabulary.ids, vocabulary.names, strict=True)
    return replace(vocabulary, names=tuple((names[id],) if id in names else kept for id, kept in own))
