import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from trained_builder import untrained, write_checkpoint

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.jobs import features
from ml_images.train.picture_model import PictureModel
from ml_images.train.trained import load_trained


def test_the_features_of_a_data_set_are_one_matrix(chain: Any, spark: object, tmp_path: Path) -> None:
    checkpoint, dataset = write_checkpoint(tmp_path, untrained()), chain.materialize / "dataset"
    assert features.main([f"pictures={dataset}", f"checkpoint={checkpoint}", f"output={tmp_path}/out"]) == 0
    table = pq.read_table(tmp_path / "out" / "features")
    assert table.schema.equals(schemas.features(64))
    column = table["features"].combine_chunks()  # as --help has it
    matrix = column.values.to_numpy().reshape(len(column), -1)
    rows = pq.read_table(dataset).to_pylist()
    assert matrix.flags["C_CONTIGUOUS"]
    assert matrix.shape == (len(rows), 64)
    model = PictureModel(load_trained(checkpoint), torch.device("cpu"))
    wanted = dict(zip([row["key"] for row in rows], model.features([row["image"] for row in rows]).values, strict=True))
    for key, found in zip(table["key"].to_pylist(), matrix, strict=True):
        np.testing.assert_allclose(found, wanted[key], atol=1e-4)
    outcomes = pq.read_table(tmp_path / "out" / "outcomes")
    assert sorted(outcomes["key"].to_pylist()) == sorted(wanted)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["features"], report["counts"]["keys by outcome"]) == (64, {"ok": len(rows)})


def test_a_checkpoint_that_is_none_is_refused(chain: Any, tmp_path: Path) -> None:
    words = [f"pictures={chain.download}/images", f"checkpoint={tmp_path}/none", f"output={tmp_path}/out"]
    with pytest.raises(InputError, match="is not a whole checkpoint"):
        features.main(words)
    assert not (tmp_path / "out").exists()
