"""Imports have no effects and no engine: what Spark's executors or a laptop load stays small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PLAIN = ["annotations.rows", "hierarchy.closure", "labels.statistics", "download.rows", "images.resize"]
PLAIN += ["storage.tables", "storage.petastorm", "schemas", "outcomes", "sample.server"]


@pytest.mark.parametrize("module", PLAIN)
def test_plain_modules_load_no_engine(module: str) -> None:
    engines = "{'pyspark', 'torch', 'horovod', 'petastorm', 'omegaconf'}"
    code = f"import sys, ml_images.{module}; print(sorted({engines} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_train_py_leaves_every_engine_to_its_one_module() -> None:
    """The import contracts see packages only; train.py is a file beside them."""
    tree = ast.parse((Path(__file__).parents[1] / "train.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"horovod", "petastorm", "omegaconf", "pyspark", "torch"}
    assert not [name for name in names if name.startswith("ml_images.spark")]
