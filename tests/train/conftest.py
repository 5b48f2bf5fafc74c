from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dataset_builder import write_dataset

torch.set_num_threads(1)  # the networks are tiny: threads would only wait for each other


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """192 training rows in 8 row groups and 24 validation rows in 2; nobody changes it."""
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", train=(24,) * 8, val=(12, 12))


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Data sets of one's own, to be broken."""

    def make(**options: Any) -> Path:
        return write_dataset(tmp_path / "dataset", **options)

    return make
