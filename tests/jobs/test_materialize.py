import json
import pickletools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from petastorm import make_batch_reader, make_reader

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.jobs import describe, materialize
from ml_images.labels.splits import SplitConfig, assign_splits
from ml_images.storage import tables
from ml_images.train.petastorm import transform_spec


def dataset_of(chain: Any) -> Path:
    return Path(chain.materialize / "dataset")


def test_every_labelled_ok_image_is_in_exactly_one_split(chain: Any) -> None:
    ok = [row["key"] for row in pq.read_table(chain.download / "images").to_pylist() if row["outcome"] == "ok"]
    rows = pq.read_table(dataset_of(chain)).to_pylist()
    assert Counter(row["key"] for row in rows) == Counter(ok)
    config = SplitConfig(val=0.3)
    assert {row["key"]: row["split"] for row in rows} == dict(
        zip(ok, assign_splits(ok, config).to_pylist(), strict=True)
    )


def test_rows_carry_their_own_picture_and_labels(chain: Any) -> None:
    images = {row["key"]: row for row in pq.read_table(chain.download / "images").to_pylist()}
    wanted = json.loads((chain.world / "expected.json").read_text())["keys"]
    for row in pq.read_table(dataset_of(chain)).to_pylist():
        image = images[row["key"]]
        assert (row["image"], row["width"], row["height"]) == (image["data"], image["width"], image["height"])
        assert row["classes"] == wanted[row["key"]]["classes"]
        assert row["confidences"] == pytest.approx(wanted[row["key"]]["confidences"], abs=1e-6)
        assert row["replication"] == 1


def test_row_groups_have_equal_bytes_and_are_a_multiple_of_the_ranks(chain: Any) -> None:
    manifest = json.loads((dataset_of(chain) / "_manifest.json").read_text())
    for split, counts in manifest["splits"].items():
        sizes, pictures = [], []
        for part in sorted((dataset_of(chain) / f"split={split}").glob("*.parquet")):
            footer = pq.read_metadata(part)
            assert footer.schema.to_arrow_schema().remove_metadata().equals(schemas.DATASET)
            for group in range(footer.num_row_groups):
                sizes.append(footer.row_group(group).num_rows)
                pictures.append(
                    list(map(len, pq.ParquetFile(part).read_row_group(group, ["image"])["image"].to_pylist()))
                )
        assert len(sizes) % 4 == 0
        assert (sum(sizes), len(sizes)) == (counts["rows"], counts["row_groups"])
        group_bytes, largest = [sum(group) for group in pictures], max(map(max, pictures))
        assert max(group_bytes) - min(group_bytes) <= 2 * largest


def test_nothing_in_the_folder_is_a_pickle(chain: Any) -> None:
    for path in dataset_of(chain).rglob("*_metadata"):
        metadata = pq.read_metadata(path).metadata
        assert set(metadata) - {b"ARROW:schema"} == {b"dataset-toolkit.num_row_groups_per_file.v1"}
        json.loads(metadata[b"dataset-toolkit.num_row_groups_per_file.v1"])
    for path in dataset_of(chain).rglob("*"):
        if path.is_file():
            with pytest.raises((ValueError, IndexError, UnicodeDecodeError)):
                for _ in pickletools.genops(path.read_bytes()):
                    pass


def test_duckdb_and_plain_pyarrow_and_spark_read_it(chain: Any, spark: Any) -> None:
    counts = json.loads((dataset_of(chain) / "_manifest.json").read_text())["splits"]
    wanted = {split: count["rows"] for split, count in counts.items()}
    table = pq.read_table(dataset_of(chain))
    assert Counter(table["split"].to_pylist()) == wanted
    found = duckdb.sql(
        "select split, count(*), sum(len(classes))"
        f" from read_parquet('{dataset_of(chain)}/split=*/*.parquet') group by 1"
    ).fetchall()
    assert {split: rows for split, rows, _ in found} == wanted
    assert sum(labels for _, _, labels in found) == sum(map(len, table["classes"].to_pylist()))
    by_spark = spark.read.parquet(str(dataset_of(chain))).groupBy("split").count().collect()
    assert {row["split"]: row["count"] for row in by_spark} == wanted


def test_petastorm_reads_all_splits_row_by_row(chain: Any) -> None:
    rows = {row["key"]: row for row in pq.read_table(dataset_of(chain)).to_pylist()}
    seen = set()
    with make_reader(f"file://{dataset_of(chain)}", reader_pool_type="dummy", num_epochs=1) as reader:
        for row in reader:
            wanted = rows[row.key]
            assert bytes(row.image) == wanted["image"]
            assert row.classes.tolist() == wanted["classes"]
            assert row.confidences.tolist() == wanted["confidences"]
            assert row.split == wanted["split"]
            seen.add(row.key)
    assert seen == rows.keys()


def test_petastorm_reads_batches_with_the_transform_of_the_library(chain: Any) -> None:
    num_classes = pq.read_table(chain.annotate / "vocabulary").num_rows
    rows = {row["key"]: row for row in pq.read_table(dataset_of(chain) / "split=train").to_pylist()}
    seen = set()
    with make_batch_reader(
        f"file://{dataset_of(chain)}/split=train",
        transform_spec=transform_spec(32, num_classes),
        reader_pool_type="dummy",
        num_epochs=1,
    ) as reader:
        for batch in reader:
            assert batch.image.shape[1:] == (32, 32, 3)
            for key, targets in zip(batch.key, batch.targets, strict=True):
                wanted = np.zeros(num_classes, np.float32)
                wanted[rows[key]["classes"]] = rows[key]["confidences"]
                assert (targets == wanted).all()
                seen.add(key)
    assert seen == rows.keys()


def test_a_rerun_gives_the_same_bytes_and_drops_splits_that_are_gone(chain: Any, spark: object, tmp_path: Path) -> None:
    argv = [
        f"annotations={chain.annotate}",
        f"images={chain.download}/images",
        f"output={tmp_path}/out",
        "layout.ranks=4",
    ]
    assert materialize.main([*argv, "splits.val=0.2", "splits.test=0.2"]) == 0
    assert (tmp_path / "out/dataset/split=test").is_dir()
    assert materialize.main([*argv, "splits.val=0.3"]) == 0
    assert not (tmp_path / "out/dataset/split=test").exists()
    files = {path.relative_to(dataset_of(chain)): path.read_bytes() for path in dataset_of(chain).rglob("*.parquet")}
    again = tmp_path / "out/dataset"
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*.parquet")} == files


def test_ansi_mode_makes_no_difference(chain: Any, spark: Any, tmp_path: Path) -> None:
    argv = [f"annotations={chain.annotate}", f"images={chain.download}/images", "layout.ranks=4", "splits.val=0.3"]
    before = spark.conf.get("spark.sql.ansi.enabled")
    assert before == "true"  # as in Spark 4; off in Spark 3.5
    spark.conf.set("spark.sql.ansi.enabled", "false")
    try:
        assert materialize.main([*argv, f"output={tmp_path}/out"]) == 0
    finally:
        spark.conf.set("spark.sql.ansi.enabled", before)
    assert pq.read_table(tmp_path / "out/dataset").equals(pq.read_table(dataset_of(chain)))


def test_a_labels_table_with_two_rows_for_a_key_is_refused(chain: Any, spark: object, tmp_path: Path) -> None:
    shutil.copytree(chain.annotate, tmp_path / "annotate")
    labels = pq.read_table(chain.annotate / "labels").cast(schemas.LABELS)
    tables.write_table(f"{tmp_path}/annotate/labels", "labels", pa.concat_tables([labels, labels.slice(0, 2)]))
    with pytest.raises(InputError, match=rf"has {len(labels) + 2} rows of {len(labels)} keys: annotate again"):
        materialize.main(
            [f"annotations={tmp_path}/annotate", f"images={chain.download}/images", f"output={tmp_path}/out"]
        )


def test_labels_of_another_vocabulary_are_refused(chain: Any, spark: object, tmp_path: Path) -> None:
    shutil.copytree(chain.annotate, tmp_path / "annotate")
    small = pq.read_table(chain.annotate / "vocabulary").slice(0, 3).cast(schemas.VOCABULARY)
    tables.write_table(f"{tmp_path}/annotate/vocabulary", "vocabulary", small)
    with pytest.raises(InputError, match=r"labels hold class \d+, the vocabulary beside them has 3"):
        materialize.main(
            [f"annotations={tmp_path}/annotate", f"images={chain.download}/images", f"output={tmp_path}/out"]
        )
    with pytest.raises(InputError, match=r"class \d+ is unknown, expected 0 to 2"):
        describe.main([f"annotations={tmp_path}/annotate", f"output={tmp_path}/report"])


def test_a_picture_that_is_no_jpeg_is_named(chain: Any, spark: object, tmp_path: Path) -> None:
    """As `short_side: original` may leave one."""
    shutil.copytree(chain.download / "images", tmp_path / "images")
    parts = {part: pq.read_table(part).to_pylist() for part in (tmp_path / "images").glob("*.parquet")}
    part, rows = next((part, rows) for part, rows in parts.items() if any(row["outcome"] == "ok" for row in rows))
    spoilt = next(row for row in rows if row["outcome"] == "ok")
    spoilt["data"] = b"\x89PNG" + spoilt["data"]
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.IMAGES), part)
    with pytest.raises(InputError, match=rf"the image of key '{spoilt['key']}' is no JPEG, as all of a data set are"):
        materialize.main([f"annotations={chain.annotate}", f"images={tmp_path}/images", f"output={tmp_path}/out"])


def test_a_split_without_training_rows_is_refused(chain: Any, spark: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row fell to split train"):
        materialize.main(
            [
                f"annotations={chain.annotate}",
                f"images={chain.download}/images",
                f"output={tmp_path}/out",
                "splits.val=0.9999",
            ]
        )


@pytest.mark.parametrize("name", ["sp ace", "ünï", "eq=1", "pc%20t", "br[1]", "cu{a,b}", "st*r", "q?m", "ha#sh"])
def test_folders_may_have_any_name(name: str, chain: Any, spark: object, tmp_path: Path) -> None:
    place = tmp_path / name
    shutil.copytree(chain.annotate, place / "annotate")
    shutil.copytree(chain.download, place / "download")
    argv = [f"annotations={place}/annotate", f"images={place}/download/images", f"output={place}/out"]
    assert materialize.main([*argv, "splits.val=0.3", "layout.ranks=4"]) == 0
    assert pq.ParquetDataset(place / "out/dataset").read().num_rows == pq.read_table(dataset_of(chain)).num_rows


def test_unfinished_or_wrong_tables_are_refused(chain: Any, tmp_path: Path) -> None:
    shutil.copytree(chain.download / "images", tmp_path / "images")
    (tmp_path / "images" / "_SUCCESS").unlink()
    with pytest.raises(InputError, match="not finished"):
        materialize.main([f"annotations={chain.annotate}", f"images={tmp_path}/images", f"output={tmp_path}/out"])
    with pytest.raises(InputError, match="is not an images table"):
        materialize.main([f"annotations={chain.annotate}", f"images={chain.annotate}/labels", f"output={tmp_path}/out"])
    assert not (tmp_path / "out").exists()
