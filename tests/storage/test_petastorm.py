import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage.petastorm import COMMON_METADATA, ROW_GROUPS, write_row_group_counts


def test_root_and_splits_tell_the_same_row_groups_and_nothing_else(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / f"split={split}").mkdir()
    row_groups = {"split=val/part-1.parquet": 2, "split=train/part-0.parquet": 3}
    write_row_group_counts(str(tmp_path), ["train", "val"], pa.schema([("key", pa.string())]), row_groups)
    for folder in (tmp_path, tmp_path / "split=train", tmp_path / "split=val"):
        footer = pq.read_metadata(folder / COMMON_METADATA)
        assert set(footer.metadata) - {b"ARROW:schema"} == {ROW_GROUPS}
        assert json.loads(footer.metadata[ROW_GROUPS]) == {
            "split=train/part-0.parquet": 3,
            "part-0.parquet": 3,
            "split=val/part-1.parquet": 2,
            "part-1.parquet": 2,
        }
        assert footer.schema.to_arrow_schema().names == ["key"]
