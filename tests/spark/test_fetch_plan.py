from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from ml_images.download.entries import ENTRY
from ml_images.download.url import parse_web_url
from ml_images.spark import fetch_plan
from ml_images.spark.fetch_plan import LEAST_TASK_ROWS, TASK_ROWS, FetchPlan, read_plan, write_plan
from ml_images.storage import tables


def entry(key: str, *urls: str | None) -> dict[str, Any]:
    return {"key": key, "urls": list(urls) or None, "size": None, "md5": None, "rotation": None}


def written(spark: Any, location: Path, rows: list[dict[str, Any]], input_bytes: int = 0) -> FetchPlan:
    frame = spark.createDataFrame(rows, "key string, urls array<string>, size string, md5 string, rotation string")
    return write_plan(frame, str(location), input_bytes, may_share=True)


def test_every_entry_is_in_one_task_whole_and_tasks_are_many_enough_and_not_too_many(
    spark: Any, tmp_path: Path
) -> None:
    rows = [entry(f"k{number}", f"http://h/{number}", None) for number in range(200)] + [entry("http://h/alone")]
    for input_bytes in (0, 50 * 20 * TASK_ROWS):  # few files, and fifty
        plan = written(spark, tmp_path, rows, input_bytes)
        found = [one for files in plan.tasks for one in read_plan(files)]
        expected = sorted((row | {"row": None} for row in rows), key=lambda one: str(one["key"]))
        assert sorted(found, key=lambda one: str(one["key"])) == expected
        assert plan.rows == len(rows)
        cores = spark.sparkContext.defaultParallelism
        assert 2 * cores <= len(plan.tasks) <= 6 * cores


@example(sizes=[1000] * 90, cores=2)  # four tasks of 20,000, and a core that has half of one more
@given(sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=400), cores=st.integers(1, 9))
def test_tasks_get_smaller_so_that_cores_end_together_and_none_is_long(sizes: list[int], cores: int) -> None:
    files = [(str(number), size) for number, size in enumerate(sizes)]
    tasks = list(fetch_plan._together(files, sum(sizes), cores))
    assert [file for task in tasks for file in task] == [file for file, _ in files]
    rows = [sum(sizes[int(file)] for file in task) for task in tasks]
    assert max(rows) <= TASK_ROWS
    busy = [0] * cores
    for number in rows:  # the core that is free first takes the next task
        busy[busy.index(min(busy))] += number
    assert max(busy) - min(busy) <= LEAST_TASK_ROWS + max(sizes)


def test_all_spellings_of_a_url_are_in_one_task_one_after_the_other(
    spark: Any, places: list[list[str]], tmp_path: Path
) -> None:
    keys = {f"k{number}": url for number, url in enumerate(url for spellings in places for url in spellings)}
    rows = [entry(key, None, " ", url) for key, url in keys.items()] + [entry(f"http://h/{n}") for n in range(100)]
    plan = written(spark, tmp_path, rows)
    tasks: dict[str, set[int]] = {}
    for task, files in enumerate(plan.tasks):
        order = [parse_web_url(keys.get(str(one["key"]), str(one["key"]))).text for one in read_plan(files)]
        assert [url for url, before in zip(order[1:], order, strict=False) if url != before] == list(
            dict.fromkeys(order)
        )[1:]
        for url in order:
            tasks.setdefault(url, set()).add(task)
    assert {len(of_url) for of_url in tasks.values()} == {1}


def test_keys_that_share_any_url_are_in_one_task_and_others_are_not_drawn_to_them(spark: Any, tmp_path: Path) -> None:
    sharing = [
        [entry("a", "http://h/a", "http://h/both"), entry("b", "http://h/b", None, "HTTP://h:80/%62oth#top")],
        [entry("c", "http://h/c", "http://h/d.jpg"), entry("d", "http://h/d.jpg", None), entry("e", "http://h/d.jpg")],
        # A chain: f and h have nothing in common.
        [
            entry("f", "http://h/f", "http://h/1"),
            entry("g", "http://h/1", "http://h/2"),
            entry("h", None, "http://h/2"),
        ],
    ]
    crowd = [entry(f"k{n}", f"http://h/k{n}", "http://h/gone.jpg") for n in range(1200)]
    alone = [entry(f"n{n}", f"http://h/n{n}", f"http://h/m{n}") for n in range(50)] + [entry("http://h/o")]
    rows = [row for group in sharing for row in group] + alone + crowd
    plan = written(spark, tmp_path, rows)
    task_of = {one["key"]: task for task, files in enumerate(plan.tasks) for one in read_plan(files)}
    assert plan.rows == len(task_of) == len(rows)
    for group in sharing:
        assert len({task_of[row["key"]] for row in group}) == 1
    for others in (crowd, alone):
        assert len({task_of[row["key"]] for row in others}) == len(plan.tasks) > 1


def test_nothing_to_fetch_is_no_task_and_plans_of_runs_that_did_not_end_are_forgotten(
    spark: Any, tmp_path: Path
) -> None:
    staging = tmp_path / tables.STAGING
    tables.write_part(str(staging / "part-0001-kept.parquet"), ENTRY.empty_table())
    tables.write_part(str(staging / "_plan-old" / "part-0.parquet"), pa.Table.from_pylist([entry("k")], schema=ENTRY))
    plan = written(spark, tmp_path, [])
    assert (list(plan.tasks), plan.rows) == ([], 0)
    assert len(list(staging.glob("_plan-*"))) == 1 and not (staging / "_plan-old").exists()
    assert tables.staged_parts(str(tmp_path)) == ["part-0001-kept.parquet"]
