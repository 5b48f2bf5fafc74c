import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.jobs import describe


def test_the_report_adds_up_and_agrees_with_the_tables(chain: Any, spark: object, tmp_path: Path) -> None:
    history = tmp_path / "train" / "history.jsonl"
    history.parent.mkdir()
    history.write_text('{"step": 3, "loss": 1.5, "validation": {"mean_average_precision": 0.5, "prior": 0.25}}\n')
    argv = [f"annotations={chain.annotate}", f"images={chain.download}/images", f"training={history.parent}"]
    assert describe.main([*argv, f"dataset={chain.materialize}/dataset", f"output={tmp_path}/out"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    labels = pq.read_table(chain.annotate / "labels")
    assert report["labels"]["rows"] == labels.num_rows
    assert report["labels"]["labels"]["present"] == sum(
        confidence > 0 for row in labels["confidences"].to_pylist() for confidence in row
    )
    assert labels.num_rows == len(set(labels["key"].to_pylist())) == pq.read_table(chain.download / "images").num_rows
    told = json.loads((chain.annotate / "report.json").read_text())["counts"]["lines"]
    assert report["lines"]["read"] == told["read"]
    assert report["lines"]["merged"] == told["merged into another row of the same key"] > 0
    assert report["lines"]["rejected"] == pq.read_table(chain.annotate / "rejects").num_rows
    for stage in report["funnel"]:
        assert sum(stage["parts"].values()) == stage["total"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page and "data:image/jpeg;base64," in page


def test_labels_alone_are_enough(chain: Any, spark: object, tmp_path: Path) -> None:
    assert describe.main([f"annotations={chain.annotate}", f"output={tmp_path}/out"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "images" not in report and "dataset" not in report and "training" not in report


def test_tables_of_another_run_than_the_report_beside_them_are_refused(
    chain: Any, spark: object, tmp_path: Path
) -> None:
    shutil.copytree(chain.annotate, tmp_path / "annotate")
    for part in (tmp_path / "annotate" / "rejects").glob("*.parquet"):
        pq.write_table(pq.read_table(part).slice(0, 0), part)
    with pytest.raises(InputError, match=r"report.json' tells of read .*, the tables of .*: run annotate again"):
        describe.main([f"annotations={tmp_path}/annotate", f"output={tmp_path}/out"])


def test_images_of_other_labels_are_refused(chain: Any, spark: object, tmp_path: Path) -> None:
    shutil.copytree(chain.download / "images", tmp_path / "images")
    part = next((tmp_path / "images").glob("*.parquet"))
    lost = pq.read_metadata(part).num_rows
    part.unlink()
    with pytest.raises(InputError, match=f"lacks {lost} of"):
        describe.main([f"annotations={chain.annotate}", f"images={tmp_path}/images", f"output={tmp_path}/out"])


def test_a_folder_without_a_training_history_is_refused(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training history .*history.jsonl' does not exist"):
        describe.main([f"annotations={chain.annotate}", f"training={tmp_path}", f"output={tmp_path}/out"])
