"""One small world, written once and served, for all tests of this folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_images.sample.server import Server, serve
from ml_images.sample.world import write

SEED, IMAGES = 7, 64


@dataclass(frozen=True)
class World:
    folder: Path
    server: Server
    expected: dict[str, Any]

    def keys_of(self, kind: str) -> list[str]:
        return [key for key, value in self.expected["keys"].items() if value["kind"] == kind]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "pictures").mkdir()
    with serve(folder / "pictures") as server:
        write(folder, SEED, server.url, IMAGES)
        yield World(folder, server, json.loads((folder / "expected.json").read_bytes()))
