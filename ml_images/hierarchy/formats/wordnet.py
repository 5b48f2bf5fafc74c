"""WordNet's `data.noun` (the format that its manual page wndb(5WN) describes), one synset a line:

    synset_offset lex_filenum ss_type w_cnt word lex_id [word lex_id...] p_cnt [ptr...] | gloss
    ptr: pointer_symbol synset_offset pos source/target

A synset is a class: its id is the wnid `n` + the eight digits of the offset, its names are the words with spaces for
underscores, its parents are the hypernyms `@` and the instance hypernyms `@i` (Paris is an instance of a capital).
w_cnt is hexadecimal, p_cnt decimal. The lines of the licence at the head begin with two spaces. Classes have the order
of their lines.
"""

import re
from collections.abc import Sequence

from ml_images.errors import InputError
from ml_images.hierarchy.formats.edges import assemble
from ml_images.hierarchy.formats.text import read_lines
from ml_images.hierarchy.vocabulary import Vocabulary

# What tells a line of data.noun, data.verb, ... from anything else.
SYNSET = re.compile(r"([0-9]{8}) [0-9]{2} ([nvasr]) ([0-9a-fA-F]{2}) ", re.ASCII)
LICENCE = "  "
_HYPERNYMS = ("@", "@i")


def parse_wordnet(data: bytes, source: str) -> Vocabulary:
    """The hierarchy of WordNet's nouns.

    Raises InputError (`source:line: ...`) for invalid UTF-8, a line that is no noun synset or whose counts do not fit
    its words and pointers, a repeated offset, a hypernym that is not in the file, its own hypernym, and a cycle.
    """
    line_of: dict[str, int] = {}
    names: list[tuple[str, ...]] = []
    hypernyms: list[tuple[int, str]] = []  # (child, offset of its parent)
    for number, line in enumerate(read_lines(data, source), 1):
        if line.startswith(LICENCE) or not line.strip():
            continue
        offset, words, above = _synset(line, f"{source}:{number}")
        if line_of.setdefault(offset, number) != number:
            raise InputError(f"{source}:{number}: synset {offset} is repeated, first on line {line_of[offset]}")
        hypernyms.extend((len(names), parent) for parent in above)
        names.append(tuple(word.replace("_", " ") for word in words))
    if not names:
        raise InputError(f"{source}:1: no synsets, expected WordNet's data.noun")

    offsets = list(line_of)
    index = {offset: c for c, offset in enumerate(offsets)}
    edges: dict[tuple[int, int], str] = {}
    for child, parent in hypernyms:
        place = f"{source}:{line_of[offsets[child]]}"
        if parent not in index:
            raise InputError(f"{place}: hypernym {parent[:20]} of synset {offsets[child]} is not in the file")
        edges.setdefault((child, index[parent]), place)
    return assemble([f"n{offset}" for offset in offsets], names, edges)


def _synset(line: str, place: str) -> tuple[str, Sequence[str], Sequence[str]]:
    """(offset, words, offsets of the hypernyms) of a line."""
    head = SYNSET.match(line)
    if head is None:
        raise InputError(
            f"{place}: expected a synset (offset, file number, n, number of words, ...), got {line[:40]!r}"
        )
    offset, kind, num_words = head.groups()
    if kind != "n":
        raise InputError(f"{place}: expected noun synsets (data.noun), got type {kind!r}")
    fields = line.partition(" | ")[0].split()[4:]
    words_end = 2 * int(num_words, 16)
    words, pointers = fields[:words_end:2], fields[words_end + 1 :]
    num_pointers = fields[words_end] if words_end < len(fields) else ""
    if not words or not re.fullmatch("[0-9]{3}", num_pointers) or len(pointers) != 4 * int(num_pointers):
        raise InputError(f"{place}: the words and pointers of synset {offset} do not fit their numbers")
    above = [to for symbol, to in zip(pointers[::4], pointers[1::4], strict=True) if symbol in _HYPERNYMS]
    return offset, words, above
