import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images.archives.config import ExtractConfig
from ml_images.archives.find import find_archives
from ml_images.archives.key_index import digests_of
from ml_images.archives.pieces import plan_pieces
from ml_images.download.config import PolitenessConfig
from ml_images.download.governor import Governor
from ml_images.schemas import IMAGES
from ml_images.spark import extract, run_options
from ml_images.spark.asked_keys import AskedKeys, _digests_file
from ml_images.spark.governing import Contact
from ml_images.spark.run_options import RunOptions
from ml_images.spark.staged_rows import settle
from ml_images.storage import tables

NOW = pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()


def stage(images: Path, name: str, rows: dict[str, tuple[str, bytes | None]]) -> None:
    full = [
        dict.fromkeys(IMAGES.names)
        | {"key": key, "outcome": outcome, "sha256": digest, "detail": name, "data": digest}
        | {"attempts": 1, "elapsed_ms": 0, "fetched_at": NOW}
        for key, (outcome, digest) in rows.items()
    ]
    tables.write_part(f"{images}/_staging/{name}", pa.Table.from_pylist(full, schema=IMAGES))


def test_one_row_of_each_key_is_left(spark: Any, tmp_path: Path) -> None:
    first, second, third = (f"part-0001-00000{number}-00000.parquet" for number in range(3))
    stage(tmp_path, first, {"a/1": ("truncated", None), "a/2": ("ok", b"x"), "1": ("ok", b"x"), "2": ("ok", b"x")})
    stage(tmp_path, second, {"a/1": ("ok", b"y"), "a/2": ("ok", b"y"), "1": ("ok", b"y"), "n00000001_1": ("ok", b"x")})
    stage(
        tmp_path, third, {"2": ("ok", b"x"), "n00000001_1": ("ok", b"y"), "a/3": ("empty", None), "a/1": ("ok", b"z")}
    )
    stage(tmp_path, "part-0002-000000-00000.parquet", {"a/3": ("ok", b"x")})  # of another run: not for us to judge
    for number, name in enumerate(("0", "1")):  # nor what a download staged
        stage(tmp_path, f"part-0003-abcdef01-00000{name}-00000.parquet", {"9": ("ok", bytes([number]))})
    for run, job in ((1, "extract"), (2, "extract"), (3, "download")):
        run_options.remember(str(tmp_path), run, RunOptions(job, {}, {}), range(run))
    assert settle(spark, str(tmp_path)) == 6
    rows = {
        (row["key"], path.name): row
        for path in (tmp_path / "_staging").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert {place: row["outcome"] for place, row in rows.items()} == {
        ("a/1", second): "ok",
        ("a/2", first): "ok",
        ("1", first): "not_in_archive",
        ("2", first): "ok",
        ("n00000001_1", second): "ok",
        ("a/3", third): "empty",
        ("a/3", "part-0002-000000-00000.parquet"): "ok",
        ("9", "part-0003-abcdef01-000000-00000.parquet"): "ok",
        ("9", "part-0003-abcdef01-000001-00000.parquet"): "ok",
    }
    ambiguous = rows["1", first]
    assert (ambiguous["data"], ambiguous["sha256"]) == (None, None) and "ambiguous" in ambiguous["detail"]
    assert settle(spark, str(tmp_path)) == 0


@pytest.fixture
def work(tmp_path: Path) -> tuple[Path, list[pa.RecordBatch], AskedKeys]:
    """A tar of 25 pictures, asked for whole: (images table, the batch of its one piece, the index)."""
    keys = [f"a/{number}.png" for number in range(25)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, key in enumerate(keys):
            out = io.BytesIO()
            Image.new("RGB", (40, 30), (number * 9, 90, 200)).save(out, "PNG")
            info = tarfile.TarInfo(key.removeprefix("a/"))
            info.size = out.tell()
            tar.addfile(info, io.BytesIO(out.getvalue()))
    digests, shapes = digests_of(keys)
    folder = str(tmp_path / "images/_staging/_asked")
    tables.write_array(_digests_file(folder), np.sort(digests))
    (archive,) = find_archives([str(tmp_path / "a.tar")])
    (piece,) = plan_pieces(archive)
    batch = pa.RecordBatch.from_pylist([{"number": 3, **vars(piece)}], schema=extract._PIECE)
    return tmp_path / "images", [batch], AskedKeys(folder, (), frozenset(shapes), 25)


def test_another_attempt_goes_on_behind_the_parts_of_the_first(work: Any) -> None:
    images, batches, asked = work
    told = {"location": str(images), "run": 1, "asked": asked, "cfg": ExtractConfig(part_rows=10)}
    with Governor(PolitenessConfig()) as governor:
        told["governor"] = Contact(governor.address, governor.secret)
        (first,) = list(extract._read_pieces(batches, **told))
        assert [governor.progress()[name] for name in ("done", "ok")] == [25, 25]
        parts = sorted((images / "_staging").glob("*.parquet"))
        assert [path.name for path in parts] == first.column("parts").to_pylist()[0]
        assert [pq.read_metadata(path).num_rows for path in parts] == [10, 10, 5]
        contents = [pq.read_table(path).drop(["fetched_at", "elapsed_ms"]) for path in parts]
        parts[1].unlink()
        parts[2].unlink()
        untouched = parts[0].stat().st_mtime_ns
        (again,) = list(extract._read_pieces(batches, **told))
    assert again.column("parts").to_pylist() == first.column("parts").to_pylist()
    assert parts[0].stat().st_mtime_ns == untouched
    assert [pq.read_table(path).drop(["fetched_at", "elapsed_ms"]) for path in parts] == contents


def test_parts_are_cut_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_PART_BYTES", 100)
    rows = [{"key": f"{number}", "data": bytes(60)} for number in range(5)] + [{"key": "5", "data": None}]
    assert [len(part) for part in extract._cut(rows, 1000)] == [2, 2, 2]
    assert [len(part) for part in extract._cut(rows, 1)] == [1] * 6
    assert list(extract._cut([rows[0], {"key": "0", "data": None}], 9)) == [[{"key": "0", "data": None}]]
