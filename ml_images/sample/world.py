"""The whole miniature world as files: vocabulary, lists, pictures, and what a correct pipeline must make of them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_images.errors import InputError
from ml_images.sample.encodings import broken, make, unavailable_photo
from ml_images.sample.faults import url_path
from ml_images.sample.hierarchy import CLASSES, closed_max, vocabulary_text, vocabulary_text_3_columns
from ml_images.sample.lists import Line, build, to_bytes
from ml_images.sample.plan import BROKEN, Item, plan
from ml_images.sample.server import UNAVAILABLE

IMAGES = 480
SEED = 1

ROBOTS = f"# The sample world's own.\nUser-agent: *\nDisallow: /{url_path('disallowed', '')}\n".encode()

_TITLE = "The ml-images sample world"
_README = """{title}: seed {seed}, {images} good pictures, {classes} classes. Made by code; nothing in here is a photo.

vocabulary.txt            classes and their parents, 4 columns; several parents are written 12,40
vocabulary_3_columns.txt  the same classes in the older format
lists/                    annotation lists, one for each dialect of the published files, each with a few malformed lines
pictures/                 the files behind the keys of the lists, some in odd formats, four of them broken; robots.txt
expected.json             for each list the lines that must be rejected; for each key the outcome of its download
                          and its labels after closed_max

The URLs in the lists begin with {base_url}
Serve them with:          ml-images sample serve FOLDER
"""


def write(out_dir: Path, seed: int, base_url: str, images: int) -> dict[str, Any]:
    """Write the world whose URLs begin with `base_url` into `out_dir`; returns what expected.json holds.

    The same arguments give the same bytes. A sample world that is there is written over. Raises InputError when the
    folder holds anything else, or when `images` is too small to show every class.
    """
    base_url = base_url.rstrip("/") + "/"
    items = plan(seed, base_url, images)
    _claim(out_dir)
    lists = build(seed, base_url, items)
    readme = _README.format(title=_TITLE, seed=seed, images=images, classes=len(CLASSES), base_url=base_url)
    _save(out_dir / "README.txt", readme.encode())
    _save(out_dir / "vocabulary.txt", vocabulary_text().encode())
    _save(out_dir / "vocabulary_3_columns.txt", vocabulary_text_3_columns().encode())
    for name, lines in lists.items():
        _save(out_dir / "lists" / name, to_bytes(lines))
    sizes = {item.key: _save_picture(out_dir / "pictures" / item.path, item, seed) for item in items}
    _save(out_dir / "pictures" / UNAVAILABLE, unavailable_photo())
    _save(out_dir / "pictures" / "robots.txt", ROBOTS)
    expected = {
        "seed": seed,
        "base_url": base_url,
        "images": images,
        "classes": len(CLASSES),
        **_expected(items, lists, sizes),
    }
    _save(out_dir / "expected.json", (json.dumps(expected, indent=1) + "\n").encode())
    return expected


def _claim(out_dir: Path) -> None:
    """Make the folder, unless it holds something that is not ours to write over."""
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir} is a file; give a folder to write the sample world into")
    readme = out_dir / "README.txt"
    ours = readme.is_file() and readme.read_bytes().startswith(_TITLE.encode())
    if not ours and out_dir.exists() and any(path.is_file() for path in out_dir.rglob("*")):
        raise InputError(f"{out_dir} holds files that are no sample world; give a new or empty folder")
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "expected.json").unlink(missing_ok=True)  # written last: where it is, the world is whole


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _save_picture(path: Path, item: Item, seed: int) -> tuple[int, int]:
    """Write the file behind a key; returns the upright width and height of its picture."""
    picture = make(seed, item.index, item.encoding)
    _save(path, broken(item.kind, picture.data) if item.path in BROKEN else picture.data)
    return picture.width, picture.height


def _expected(
    items: Sequence[Item], lists: Mapping[str, Sequence[Line]], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """What must come out: counts per list, and for each key its outcome, its picture and its closed labels."""
    tags: dict[str, list[tuple[int, float]]] = {}
    for lines in lists.values():
        for line in lines:
            if line.reason is None:
                tags.setdefault(line.key, []).extend(line.tags)
    counts = {name: _counts(lines) for name, lines in lists.items()}
    keys = {}
    for item in items:
        labels = closed_max(tags[item.key])
        width, height = sizes[item.key]
        keys[item.key] = {
            "outcome": item.outcome,
            "kind": item.kind,
            "picture": item.path,
            "width": width,
            "height": height,
            "classes": list(labels),
            "confidences": list(labels.values()),
        }
    return {
        "lines": sum(count["lines"] for count in counts.values()),
        "accepted": sum(count["accepted"] for count in counts.values()),
        "rejects": dict(sum((Counter(count["rejects"]) for count in counts.values()), Counter())),
        "distinct_keys": len(keys),
        "outcomes": dict(Counter(item.outcome for item in items)),
        "lists": counts,
        "keys": keys,
    }


def _counts(lines: Sequence[Line]) -> dict[str, Any]:
    rejected = [{"line": n, "reason": line.reason} for n, line in enumerate(lines, 1) if line.reason is not None]
    return {
        "lines": len(lines),
        "accepted": len(lines) - len(rejected),
        "rejects": dict(Counter(line.reason for line in lines if line.reason is not None)),
        "rejected_lines": rejected,
    }
