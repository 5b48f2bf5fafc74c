"""What a job has staged before it was interrupted is kept by the next run if that is the same: of the same files, made
in the same way by the same version."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_images
from ml_images.storage import tables
from ml_images.storage.paths import join, open_location

_ASKED = "_asked.json"  # in the staging folder of the first table; published with the parts it is forgotten


def identity(settings: dict[str, Any], model: Path, parts: Sequence[str]) -> str:
    """Equal for runs that make the same tables. Parts of the input are told apart by place, length and time."""
    digest = hashlib.sha256(json.dumps([ml_images.__version__, settings], sort_keys=True).encode())
    with model.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    for part in parts:
        filesystem, path = open_location(part)
        info = filesystem.get_file_info(path)
        digest.update(json.dumps([part, info.size, info.mtime_ns]).encode())
    return digest.hexdigest()


def keep_or_clear(locations: Sequence[str], asked: str) -> int:
    """Clear what is staged for tables at `locations` unless a run of the identity `asked` staged it; how many parts all
    of them have."""
    note = join(locations[0], tables.STAGING, _ASKED)
    if tables.read_json(note) != asked:
        for location in locations:
            tables.clear_staging(location)
        tables.write_json(note, asked)
    return len(set.intersection(*(set(tables.staged_parts(location)) for location in locations)))
