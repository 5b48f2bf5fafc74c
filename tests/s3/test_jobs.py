"""The jobs with lists, tables and data sets on S3: pyarrow in driver and workers, s3a in Spark's JVM."""

import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.jobs import annotate, verify
from ml_images.storage import tables
from ml_images.storage.paths import join
from ml_images.storage.s3 import spark_settings
from ml_images.train.dataset import read_split
from ml_images.train.row_groups import ArrowRowGroups

# hadoop-aws and its SDK are on no registry but Maven's; this package on PyPI ships them (181 MB, 5 s).
JARS_FROM = "sagemaker-pyspark==1.4.5 --hash=sha256:05ca2d5081d7138ce29a8fb0a9cba077f28c825288ed07aed46a82e63c0bf1fb\n"
JARS = ("hadoop-aws-3.3.1.jar", "aws-java-sdk-bundle-1.11.901.jar")

# These jars are of Hadoop 3.3.1 and PySpark 4.0 brings 3.4.1, whose defaults for them ("60s") they cannot read.
OF_OLD_JARS = {
    "aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
    "threads.keepalivetime": "60",
    "connection.establish.timeout": "5000",
    "connection.timeout": "200000",
    "connection.ttl": "300000",
    "connection.request.timeout": "0",
    "connection.acquisition.timeout": "60000",
    "connection.idle.time": "60000",
    "multipart.purge.age": "86400",
}


@pytest.fixture(scope="session")
def s3a_jars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Downloaded once, and kept in .venv as other packages are."""
    kept = Path(sys.prefix) / "s3a-jars"
    if not all((kept / jar).exists() for jar in JARS):
        folder = tmp_path_factory.mktemp("jars")
        (folder / "wanted.txt").write_text(JARS_FROM)
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-cache-dir", "--dest", str(folder)]
        subprocess.run([*pip, "--requirement", str(folder / "wanted.txt")], check=True, timeout=250)
        kept.mkdir(exist_ok=True)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            for member in archive:
                if (name := Path(member.name).name) in JARS:
                    member.name = name
                    archive.extract(member, folder, filter="data")
                    (folder / name).rename(kept / name)
    return ",".join(str(kept / jar) for jar in JARS)


def rows_of(location: str) -> dict[str, list[Any]]:
    """The rows of a labels table, by key."""
    read = pa.concat_tables(tables.read_part(join(location, name)) for name in tables.parts(location))
    return {row["key"]: [row["classes"], row["confidences"]] for row in read.to_pylist()}


def test_annotate_reads_lists_from_s3_and_writes_tables_there(
    chain: Any, spark: object, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = s3.bucket()
    s3.upload(chain.world / "lists", join(bucket, "lists"))
    s3.upload(chain.world / "vocabulary.txt", join(bucket, "vocabulary.txt"))
    argv = [f"lists=[{bucket}/lists/*.txt]", f"vocabulary={bucket}/vocabulary.txt", f"output={bucket}/out"]
    for _ in range(2):  # the second time in the place of the first
        assert annotate.main([*argv, "max_loss=0.2"]) == 0
        tables.require(f"{bucket}/out/labels", "labels")
        assert rows_of(f"{bucket}/out/labels") == rows_of(str(chain.annotate / "labels"))
    report = tables.read_json(f"{bucket}/out/report.json")
    for what in ("lines", "rejected by reason", "labels"):
        assert report["counts"][what] == tables.read_json(str(chain.annotate / "report.json"))["counts"][what]
    assert "loopback-secret" not in str(report) + "".join(capsys.readouterr())


def test_a_data_set_made_on_s3_is_verified_and_read_there(
    chain: Any,
    spark: object,
    s3: Any,
    s3a_jars: str,
    commands: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket = s3.bucket()
    for table in ("labels", "vocabulary"):
        s3.upload(chain.annotate / table, join(bucket, "annotate", table))
    s3.upload(chain.download / "images", join(bucket, "images"))
    dataset = join(bucket, "materialize", "dataset")
    settings = {f"spark.hadoop.fs.s3a.{name}": value for name, value in OF_OLD_JARS.items()}
    settings |= {"spark.jars": s3a_jars, "spark.master": "local[2]", **spark_settings(bucket)}
    words = [f"annotations={bucket}/annotate", f"images={bucket}/images", f"output={bucket}/materialize"]
    rows = pa.table(
        {"key": tables.read_table(str(chain.download / "images"), "images", ["key"])["key"][:1], "group": ["g"]}
    )
    pq.write_table(rows, tmp_path / "groups.parquet")
    words.append(f"groups={s3.upload(tmp_path / 'groups.parquet', join(s3.bucket(), 'groups.parquet'))}")  # by itself
    words += ["splits.val=0.3", "layout.ranks=4", *(f"spark.{name}={value}" for name, value in settings.items())]
    done = subprocess.run(
        ["ml-images", "materialize", *words], env=commands, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert verify.main([f"dataset={dataset}"]) == 0
    for name in ("train", "val"):
        here, there = (read_split(location, name) for location in (f"{chain.materialize}/dataset", dataset))
        assert there.row_groups == here.row_groups
        found = [
            [ArrowRowGroups(split).read(group).row(0) for group in range(len(split.row_groups))]
            for split in (here, there)
        ]
        for local, remote in zip(*found, strict=True):
            assert local[:2] == remote[:2]
    told = str(tables.read_json(join(dataset, "_manifest.json"))) + done.stdout + done.stderr
    assert "loopback-secret" not in told + "".join(capsys.readouterr())


def test_a_changed_file_is_found_on_s3(
    chain: Any, spark: object, s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = join(s3.bucket(), "dataset")
    s3.upload(chain.materialize / "dataset", location)
    name = next(name for name in tables.parts(location) if name.startswith("split=train/"))
    tables.write_text(join(location, name), "other bytes")
    assert verify.main([f"dataset={location}"]) == 1
    assert f"{name}: shorter than written" in capsys.readouterr().err
