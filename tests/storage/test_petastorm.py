import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.storage.petastorm import COMMON_METADATA, ROW_GROUPS, write_row_group_counts

ROWS = pa.table({"key": ["a", "b", "c"]})


def test_root_and_splits_tell_the_same_row_groups_and_nothing_else(tmp_path: Path) -> None:
    for split, name, rows_per_group in (("train", "part-0.parquet", 1), ("val", "part-1.parquet", 2)):
        (tmp_path / f"split={split}").mkdir()
        pq.write_table(ROWS, tmp_path / f"split={split}" / name, row_group_size=rows_per_group)
    write_row_group_counts(str(tmp_path), ["train", "val"], ROWS.schema)
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
