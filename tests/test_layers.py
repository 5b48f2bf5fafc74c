"""Imports have no effects and no engine: what Spark's executors or a laptop load stays small."""

import subprocess
import sys

import pytest

PLAIN = ["annotations.rows", "hierarchy.closure", "labels.merge", "labels.statistics", "download.rows", "images.resize"]
PLAIN += ["storage.tables", "storage.petastorm", "schemas", "outcomes", "sample.server"]


@pytest.mark.parametrize("module", PLAIN)
def test_plain_modules_load_no_engine(module: str) -> None:
    engines = "{'pyspark', 'torch', 'horovod', 'petastorm', 'omegaconf'}"
    code = f"import sys, ml_images.{module}; print(sorted({engines} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
