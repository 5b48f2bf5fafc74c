"""The first pass over the lists without Spark: what the workers write down, and what the driver finds in it."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.annotations.keys import hash_keys
from ml_images.spark import repeated_keys
from ml_images.storage import lines
from ml_images.storage.lines import plan_slices


@given(
    keys=st.lists(st.integers(0, 60), min_size=1, max_size=120), num_buckets=st.integers(1, 5), is_gzip=st.booleans()
)
@settings(max_examples=30)
def test_the_rows_of_repeated_keys_and_no_others_get_a_bucket_whatever_runs_and_slices_there_are(
    keys: list[int], num_buckets: int, is_gzip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    text = "".join(f"key{key}\t1:1\n" for key in keys).encode()
    file = folder / ("list.txt.gz" if is_gzip else "list.txt")
    file.write_bytes(gzip.compress(text) if is_gzip else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", 24)
        patch.setattr(repeated_keys, "RUN_KEYS", 5)  # a run is some blocks, a slice some runs
        slices = plan_slices([(str(file), file.stat().st_size)], 150)
        units = [{"number": number, **vars(piece)} for number, piece in enumerate(slices)]
        batch = pa.RecordBatch.from_pylist(units, schema=pa.schema(repeated_keys.SLICE))
        scan = repeated_keys._scan_slices([batch], folder=str(folder), num_buckets=num_buckets)
        scanned = [row for rows in scan for row in rows.to_pylist()]
    assert sum(row["lines"] for row in scanned) == len(keys)
    assert len(scanned) == sum(1 for _ in (folder / "_keys").iterdir())

    found = repeated_keys._find_repeated(scanned, str(folder), num_buckets)
    times = Counter(keys)
    bucket = found.bucket_of_rows(hash_keys(pa.array([f"key{key}" for key in keys])))
    assert (bucket >= 0).tolist() == [times[key] > 1 for key in keys]
    assert set(found.buckets) == set(np.unique(bucket[bucket >= 0]).tolist())


def test_a_slice_of_a_plain_list_is_one_run(tmp_path: Path) -> None:
    text = b"key\t1:1\n" * 3
    (tmp_path / "list.txt").write_bytes(text)
    (piece,) = plan_slices([(str(tmp_path / "list.txt"), len(text))], 1 << 20)
    assert [(len(hashes), count) for hashes, count in repeated_keys._hash_slice(piece)] == [(3, 3)]
