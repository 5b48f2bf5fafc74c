"""The annotation lists of the world: every dialect of the published files, and a few lines that no reader may accept.

The tags of an Open Images row follow the rule that the published rows obey (found on all 100 rows of their sample): a
sure tag (1 or 1.0) brings all its ancestors, an unsure one (0.9, 0.8) only its parents, and who comes first keeps its
place and confidence. So these rows are open, and closing them is the reader's work. The other lists hold full paths.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_images.sample.hierarchy import CLASSES, ancestors
from ml_images.sample.plan import IM_LIST, IMAGENET, LISTS, OPEN_IMAGES, URLS_AND_INDEX, Item

Rng = np.random.Generator
Tags = list[tuple[int, str]]  # class and confidence as written, "" where it is left out

_CONFIDENCES = ("1", "1.0", "0.9", "0.8")
_SHARES = (0.5, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class Line:
    """A line of a list without its end; `reason` says why it must be rejected, None that it must be accepted."""

    text: bytes
    key: str = ""
    tags: tuple[tuple[int, float], ...] = ()
    reason: str | None = None


def build(seed: int, base_url: str, items: Sequence[Item]) -> dict[str, list[Line]]:
    """The lines of each list, by file name."""
    return {
        name: _mixed(
            [line for item in items if item.list_name == name for line in _LINES_OF[name](item, seed)],
            _malformed(base_url)[name],
            np.random.default_rng([seed, number, 4]),
        )
        for number, name in enumerate(LISTS)
    }


def to_bytes(lines: Iterable[Line]) -> bytes:
    return b"".join(line.text + b"\n" for line in lines)


def _mixed(good: list[Line], bad: list[Line], rng: Rng) -> list[Line]:
    """Both in a random order that keeps `good` in its own."""
    lines = list(good)
    for line in bad:
        lines.insert(int(rng.integers(len(lines))), line)
    return lines


def _open_images(item: Item, seed: int) -> list[Line]:
    rng = np.random.default_rng([seed, item.index, 5])
    scene = item.scene(seed)
    first, *others = scene.things
    if others and item.index % 12 == 0:
        # The same URL in two rows with different tags, as the authors admit of theirs.
        parts = [(*first.classes, *scene.ground_classes), others[0].classes]
    else:
        parts = [scene.classes]
    lines = [_line(item.key, _as_released(part, rng)) for part in parts]
    if item.index % 20 == 0:
        lines[0] = Line(lines[0].text + b"\r", lines[0].key, lines[0].tags)  # edited on Windows
    if item.index % 20 == 2:
        klass, literal = scene.classes[0], "0.8"
        lines[0] = Line(lines[0].text + f"\t{klass}:{literal}".encode(), lines[0].key, (*lines[0].tags, (klass, 0.8)))
    return lines


def _imagenet(item: Item, seed: int) -> list[Line]:
    return [_line(item.key, _full_paths(item.scene(seed).classes, "1"))]


def _urls_and_index(item: Item, seed: int) -> list[Line]:
    scene = item.scene(seed)
    identity = f"{CLASSES[scene.classes[0]].id}_{item.index}"
    # Every other row leaves the confidence out, which means 1.
    tags = _full_paths(scene.classes, "1" if item.index % 2 else "")
    line = _line(item.key, tags)
    return [Line(f"{identity}\t".encode() + line.text, line.key, line.tags)]


def _im_list(item: Item, seed: int) -> list[Line]:
    """Separated by runs of spaces, in some rows with a tab among them, as in the oldest lists."""
    rng = np.random.default_rng([seed, item.index, 6])
    tags = _full_paths(item.scene(seed).classes, "1.0")
    separators = [" " * int(rng.integers(1, 9)) for _ in tags]
    if item.index % 3 == 0:
        separators[0] = "\t"
    return [_line(item.key, tags, separators)]


_LINES_OF: dict[str, Callable[[Item, int], list[Line]]] = {
    OPEN_IMAGES: _open_images,
    IMAGENET: _imagenet,
    URLS_AND_INDEX: _urls_and_index,
    IM_LIST: _im_list,
}


def _line(key: str, tags: Tags, separators: Sequence[str] | None = None) -> Line:
    words = [f"{klass}:{literal}" if literal else str(klass) for klass, literal in tags]
    text = "".join(sep + word for sep, word in zip(separators or ["\t"] * len(words), words, strict=True))
    return Line((key + text).encode(), key, tuple((klass, float(literal or 1)) for klass, literal in tags))


def _as_released(classes: Iterable[int], rng: Rng) -> Tags:
    emitted: dict[int, str] = {}
    for klass in classes:
        literal = _CONFIDENCES[int(rng.choice(len(_CONFIDENCES), p=_SHARES))]
        above = ancestors(klass) if float(literal) == 1 else CLASSES[klass].parents
        for member in (klass, *above):
            emitted.setdefault(member, literal)
    return list(emitted.items())


def _full_paths(classes: Iterable[int], literal: str) -> Tags:
    return [(member, literal) for member in dict.fromkeys(m for klass in classes for m in (klass, *ancestors(klass)))]


def _malformed(base_url: str) -> dict[str, list[Line]]:
    """Lines to reject, with the reasons that annotations.reasons names."""
    url = f"{base_url}ok/rejected_o.jpg".encode()
    too_high = len(CLASSES)
    return {
        OPEN_IMAGES: [
            Line(b"", reason="blank"),
            Line(url, reason="no_tags"),
            Line(url + b"\t3:1\t17abc:1", reason="bad_tag"),
            Line(url + b"\t3:1\t9:0.9 beautiful round", reason="bad_tag"),
            Line(url + f"\t3:1\t{too_high}:1".encode(), reason="class_out_of_range"),
            Line(url + b"\t3:nan", reason="bad_confidence"),
            Line(url + b"\t3:1.7", reason="bad_confidence"),
            Line(url.replace(b"rejected", b"caf\xe9") + b"\t3:1", reason="bad_encoding"),  # Latin-1
        ],
        IMAGENET: [
            Line(b" \t ", reason="blank"),
            Line(b"n04310904/n04310904_8388.JPEG\t2367:1\t2172:1\t1831:1", reason="class_out_of_range"),
            Line(b"n90000000/n90000000_1.JPEG\t", reason="no_tags"),
        ],
        URLS_AND_INDEX: [
            Line(b"n90000000_7\t" + url, reason="no_tags"),
            Line(b"n90000000_8\t" + url + b"\t-4:1", reason="bad_tag"),
        ],
        IM_LIST: [
            Line(b"im rejected.jpg 3:1.0", reason="bad_tag"),  # a name with a space
            Line(b"im_rejected.jpg   3:-0.5", reason="bad_confidence"),
        ],
    }
