from pathlib import Path

import pytest

from ml_images.errors import StorageError
from ml_images.spark.ingest import _keep_only


def test_parts_of_attempts_that_failed_are_forgotten(tmp_path: Path) -> None:
    told = ["labels/_staging/part-0001-000000.parquet", "images/_staging/part-0001-000000-00001.parquet"]
    for name in [*told, "images/_staging/part-0001-000000-00002.parquet"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    _keep_only(str(tmp_path), ["labels", "images"], told)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")) == sorted(told)
    with pytest.raises(StorageError, match=r"labels/_staging/part-0001-000001.parquet\): it must be a place that all"):
        _keep_only(str(tmp_path), ["labels", "images"], [*told, "labels/_staging/part-0001-000001.parquet"])
