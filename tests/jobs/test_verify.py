import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml_images.errors import InputError
from ml_images.jobs import verify


def test_a_data_set_is_as_it_was_written(chain: Any, spark: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main([f"dataset={chain.materialize}/dataset"]) == 0
    dataset = Path(chain.materialize, "dataset")
    files = sum(len(list(dataset.rglob(name))) for name in ("part-*.parquet", "*_metadata")) + 3
    assert f"all {files} files" in capsys.readouterr().out


def test_what_was_changed_lost_or_added_is_named(
    chain: Any, spark: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = shutil.copytree(Path(chain.materialize, "dataset"), tmp_path / "dataset")
    train, val = (sorted((dataset / f"split={split}").glob("*.parquet"))[0] for split in ("train", "val"))
    content = bytearray(train.read_bytes())
    content[len(content) // 2] ^= 1
    train.write_bytes(content)
    shutil.copy(val, val.with_name("part-99999.parquet"))
    val.unlink()
    common = dataset / "split=train" / "_common_metadata"
    common.write_bytes(common.read_bytes() + b"x")
    (dataset / "_card.md").write_text("nothing")
    shutil.copy(dataset / "_common_metadata", dataset / "_metadata")
    os.mkfifo(dataset / "split=val/pipe")
    manifest = json.loads((dataset / "_manifest.json").read_text())
    manifest["splits"]["train"]["rows"] += 1
    (dataset / "_manifest.json").write_text(json.dumps(manifest))
    assert verify.main([f"dataset={dataset}", f"output={tmp_path}/verify"]) == 1
    report = json.loads((tmp_path / "verify" / "report.json").read_text())
    assert report["not_as_written"] == {
        f"split=train/{train.name}": "other bytes than written",
        f"split=val/{val.name}": "missing",
        "split=val/part-99999.parquet": "not in the manifest",
        "split=val/pipe": "not in the manifest",
        "split=train/_common_metadata": "longer than written",
        "_card.md": "shorter than written",
        "_metadata": "not in the manifest",
        "_manifest.json": "other rows than promised",
    }
    assert (
        sum(report["counts"]["files"].values())
        == sum(
            len(list(dataset.rglob(name)))
            for name in ("part-*.parquet", "*_metadata", "_vocabulary", "_card.md", "_manifest.json", "pipe")
        )
        + 1
    )
    told = capsys.readouterr()
    assert f"split=train/{train.name}: other bytes than written" in told.err
    assert f"split=val/{val.name}: missing" in told.err
    assert "split=val/part-99999.parquet: not in the manifest" in told.err
    assert "8 of" in told.err


def test_what_is_no_data_set_is_refused(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        verify.main([f"dataset={tmp_path}/nothing"])
    with pytest.raises(InputError, match="is not a dataset table"):
        verify.main([f"dataset={chain.annotate}/labels"])
