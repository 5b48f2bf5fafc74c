from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from ml_images.images.config import ImageConfig
from ml_images.spark.run_options import RunOptions, is_decided_anew, of_image, other_pictures, remember, runs_of


def options(job: str = "download", **image: Any) -> RunOptions:
    return RunOptions(job, *of_image(ImageConfig(**image)))


def anew(spark: Any, location: Path, now: RunOptions) -> set[tuple[int, str]]:
    rows = [(run, outcome) for run in range(1, 6) for outcome in ("ok", "too_small", "too_many_pixels", "not_found")]
    rows += [(run, "gone") for run in range(1, 6)]
    told = {"gone": "status 404; http://h/a ended as too_small (30x40); http://h/b ended as not_found"}
    frame = spark.createDataFrame([(*row, told.get(row[1])) for row in rows], "run int, outcome string, detail string")
    columns = (F.col(name) for name in ("outcome", "detail", "run"))
    found = frame.where(is_decided_anew(str(location), now, *columns)).collect()
    return {(row["run"], row["outcome"]) for row in found}


def test_rows_are_decided_anew_where_their_runs_options_were_others(spark: Any, tmp_path: Path) -> None:
    assert anew(spark, tmp_path, options()) == set()
    remember(str(tmp_path), 1, options(), [])
    remember(str(tmp_path), 2, options(min_side=20), [1])
    remember(str(tmp_path), 3, options(min_side=20, max_pixels=1000), [1, 2])
    remember(str(tmp_path), 4, options("extract", min_side=99), [1, 2, 3])  # knows nothing of downloads
    assert anew(spark, tmp_path, options()) == {
        (2, "too_small"),
        (2, "gone"),
        (3, "too_small"),
        (3, "gone"),
        (3, "too_many_pixels"),
    }
    assert anew(spark, tmp_path, options(min_side=20)) == {(1, "too_small"), (1, "gone"), (3, "too_many_pixels")}
    remember(str(tmp_path), 5, options(), [1, 3])
    assert anew(spark, tmp_path, options()) == {
        (3, "too_small"),
        (3, "gone"),
        (3, "too_many_pixels"),
    }  # 2 has no rows any more


def test_pictures_that_were_made_otherwise_are_told(tmp_path: Path) -> None:
    assert other_pictures(str(tmp_path), options()) == ""
    remember(str(tmp_path), 1, options(short_side="original", min_side=20), [])
    assert other_pictures(str(tmp_path), options(short_side="original")) == ""
    assert other_pictures(str(tmp_path), options()) == "short_side=original, quality=90, icc=srgb"
    assert other_pictures(str(tmp_path), options("extract")) == ""


def test_runs_are_known_by_their_job_and_the_archives_that_they_read(tmp_path: Path) -> None:
    remember(str(tmp_path), 1, options(), [])
    remember(str(tmp_path), 2, RunOptions("extract", {}, {}, "0123"), [1])
    remember(str(tmp_path), 3, RunOptions("extract", {}, {}), [1, 2])
    assert runs_of(str(tmp_path), "download") == [1]
    assert runs_of(str(tmp_path), "extract") == [2, 3]
    assert runs_of(str(tmp_path), "extract", "0123") == [2]
