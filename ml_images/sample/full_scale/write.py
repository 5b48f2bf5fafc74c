"""Two annotation lists of any length with the shape of the published ones, and what a reader must find in them.

Blocks are made by several processes and written in order, so the bytes are the same whatever their number; another
processor or numpy may round the fitted weights, and so some rows, differently. A list comes under its name when it is
whole; expected.json is written last: where it is, the lists are whole.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import Vocabulary
from ml_images.sample.full_scale.blocks import BLOCK_ROWS, Block, Facts, Maker
from ml_images.sample.full_scale.draw import CONFIDENCES, upward
from ml_images.sample.full_scale.fit import IMAGENET_SHARE, fit
from ml_images.sample.full_scale.pool import making
from ml_images.sample.plan import IMAGENET, OPEN_IMAGES

EXPECTED = "expected.json"
_PARTIAL = ".partial"


def write_lists(
    folder: Path,
    vocabulary: Vocabulary,
    rows: int,
    seed: int,
    counts: npt.NDArray[np.float64],
    malformed: float = 0.0,
    processes: int = 1,
) -> dict[str, Any]:
    """Write both lists, `rows` lines in all, and expected.json into `folder`; returns what is in expected.json.

    counts: images of each class, descending, which the classes of `vocabulary` follow. `malformed` is the share of
    lines that no reader may accept. Raises InputError for a folder that holds other files, OSError where it cannot be
    written.
    """
    _claim(folder)
    maker = Maker(vocabulary.ids, fit(upward(vocabulary.parents), counts), seed, malformed)
    blocks = _blocks(rows)
    facts = dict.fromkeys(blocks, maker.nothing())
    sizes = dict.fromkeys(blocks, 0)
    processes = min(processes, sum(map(len, blocks.values())))
    try:
        with making(maker, processes) as make, _bar(rows) as bar:
            for name in blocks:
                with (folder / (name + _PARTIAL)).open("wb") as file:
                    for data, found in make(blocks[name]):
                        file.write(data.data)
                        facts[name] += found
                        sizes[name] += len(data)
                        bar.update(found.lines)
        for name in blocks:
            (folder / (name + _PARTIAL)).replace(folder / name)
    finally:
        for name in blocks:
            (folder / (name + _PARTIAL)).unlink(missing_ok=True)
    described = {
        "seed": seed,
        "malformed": malformed,
        "classes": vocabulary.num_classes,
        **_described(maker, sum(facts.values(), maker.nothing())),
        "lists": {name: {"bytes": sizes[name], **_described(maker, facts[name])} for name in facts},
    }
    fields = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in described.items())
    (folder / EXPECTED).write_text(f"{{\n{fields}\n}}\n")
    return described


def split(rows: int) -> dict[str, int]:
    """Lines of each list: `rows` shared out as the published rows are."""
    imagenet = round(rows * IMAGENET_SHARE)
    return {IMAGENET: imagenet, OPEN_IMAGES: rows - imagenet}


def _claim(folder: Path) -> None:
    """Make the folder, unless it holds something that is not ours to write over."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder to write the lists into")
    ours = {EXPECTED} | {name + end for name in (IMAGENET, OPEN_IMAGES) for end in ("", _PARTIAL)}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.exists() else []
    if others:
        raise InputError(f"{folder} holds {others[0]}, which is no list of ours; give a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EXPECTED).unlink(missing_ok=True)


def _blocks(rows: int) -> dict[str, list[Block]]:
    return {
        name: [Block(name, first, min(BLOCK_ROWS, length - first)) for first in range(0, length, BLOCK_ROWS)]
        for name, length in split(rows).items()
    }


def _bar(rows: int) -> "tqdm[None]":
    return tqdm(desc="lists", total=rows, unit=" rows", unit_scale=True, disable=None, leave=False)


def _described(maker: Maker, facts: Facts) -> dict[str, Any]:
    """Facts by the words of expected.json."""
    rejects: dict[str, int] = {}
    odd: dict[str, int] = {}
    for dialect, count in zip(maker.dialects[1:], facts.dialects[1:].tolist(), strict=True):
        by = odd if dialect.reason is None else rejects
        name = dialect.reason or dialect.name
        by[name] = by.get(name, 0) + count
    return {
        "lines": facts.lines,
        "accepted": facts.lines - sum(rejects.values()),
        "rejects": rejects,
        "odd": odd,
        "labels": int(facts.images.sum()),
        "confidences": dict(zip(CONFIDENCES, facts.confidences.tolist(), strict=True)),
        "images_per_class": facts.images.tolist(),
        "closed_max": {"labels": int(facts.closed.sum()), "images_per_class": facts.closed.tolist()},
    }
