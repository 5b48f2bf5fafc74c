import gzip
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.jobs import annotate
from ml_images.spark import annotate as stage
from ml_images.spark import repeated_keys
from ml_images.storage import lines as storage_lines
from ml_images.storage import tables

VOCABULARY = "n00000001\t-1\tthing\nn00000002\t0\tdog\nn00000003\t1\thusky\n"


def expected(chain: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((chain.world / "expected.json").read_text())
    return content


def test_every_line_is_a_label_row_or_a_reject(chain: Any) -> None:
    report = json.loads((chain.annotate / "report.json").read_text())
    wanted = expected(chain)
    assert report["counts"]["lines"] == {
        "read": wanted["lines"],
        "label rows": len(wanted["keys"]),
        "merged into another row of the same key": wanted["accepted"] - len(wanted["keys"]),
        "rejected": wanted["lines"] - wanted["accepted"],
    }
    assert report["counts"]["rejected by reason"] == wanted["rejects"]
    keys = pq.read_table(chain.annotate / "labels")["key"].to_pylist()
    assert sorted(keys) == sorted(wanted["keys"])


def test_rejects_name_their_list_and_line(chain: Any) -> None:
    rows = pq.read_table(chain.annotate / "rejects").to_pylist()
    found = {(Path(row["source"]).name, row["line"], row["reason"]) for row in rows}
    wanted = {
        (name, row["line"], row["reason"])
        for name, content in expected(chain)["lists"].items()
        for row in content["rejected_lines"]
    }
    assert found == wanted


def test_labels_are_merged_and_closed_with_the_highest_confidence_below(chain: Any) -> None:
    wanted = expected(chain)["keys"]
    for row in pq.read_table(chain.annotate / "labels").to_pylist():
        assert row["classes"] == wanted[row["key"]]["classes"], row["key"]
        assert row["confidences"] == pytest.approx(wanted[row["key"]]["confidences"], abs=1e-6), row["key"]


@pytest.mark.parametrize(("table", "schema"), [("labels", schemas.LABELS), ("rejects", schemas.REJECTS)])
def test_tables_have_the_columns_of_the_contract(table: str, schema: Any, chain: Any) -> None:
    for part in (chain.annotate / table).glob("*.parquet"):
        assert pq.read_schema(part).equals(schema)


def test_line_numbers_hold_over_slices_and_files(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SLICE_BYTES", 40)
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("".join(f"{name}{i}\t{2 if i % 3 else 9}\n" for i in range(30)))
    code = annotate.main(
        [
            f"lists=[{tmp_path}/a.txt,{tmp_path}/b.txt]",
            f"vocabulary={tmp_path}/vocabulary.txt",
            f"output={tmp_path}/out",
        ]
    )
    assert code == 3  # a third of the lines is more than max_loss
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert sorted((Path(row["source"]).name, row["line"]) for row in rejects) == sorted(
        (name, i + 1) for name in ("a.txt", "b.txt") for i in range(0, 30, 3)
    )
    assert {row["reason"] for row in rejects} == {"class_out_of_range"}
    assert pq.read_table(tmp_path / "out" / "labels").num_rows == 40


def test_a_rerun_replaces_and_repeats_nothing(spark: object, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "a.txt").write_text("x\t2\ny\t1:0.5\n")
    argv = [f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    for closure, labels in (("closed_max", 5), ("leaf_only", 2)):
        assert annotate.main([*argv, f"closure={closure}"]) == 0
        table = pq.read_table(tmp_path / "out" / "labels")
        assert table.num_rows == 2
        assert sum(map(len, table["classes"].to_pylist())) == labels


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("n1\t-1\ta\nn1\t-1\tb\n", "vocabulary.txt:2: "),
        ("n1\t-1\ta\nn2\t7\tb\n", "vocabulary.txt:2: "),
        ("n1\t1\ta\nn2\t0\tb\n", "cycle"),
        ("", "is empty"),
    ],
)
def test_a_broken_vocabulary_is_refused_before_anything_is_written(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(content)
    (tmp_path / "a.txt").write_text("x\t0\n")
    with pytest.raises(InputError, match=says) as caught:
        annotate.main([f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_wrong_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "empty.txt").touch()
    for name, says in (("missing.txt", "does not exist"), ("empty.txt", "is empty"), ("", "is a directory")):
        with pytest.raises(InputError, match=says):
            annotate.main(
                [f"lists={tmp_path}/{name}", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
            )


def test_a_list_without_lines_is_refused_and_a_damaged_one_is_named(spark: object, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "none.txt.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "bad.txt.gz").write_bytes(b"no gzip")
    argv = [f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    with pytest.raises(InputError, match=r"the annotation lists hold no line: .*none.txt.gz"):
        annotate.main([f"lists={tmp_path}/none.txt.gz", *argv])
    with pytest.raises(InputError, match=r"annotation list '.*bad.txt.gz' cannot be decompressed"):
        annotate.main([f"lists={tmp_path}/bad.txt.gz", *argv])
    with pytest.raises(InputError, match="not finished"):
        tables.require(f"{tmp_path}/out/labels", "labels")


def test_a_list_given_twice_is_read_once_with_its_own_line_numbers(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SLICE_BYTES", 4)
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "a.txt").write_text("x\t1\ny\n")
    lists = f"lists=[{tmp_path}/a.txt,{tmp_path}/a.txt]"
    assert annotate.main([lists, f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out", "max_loss=1"]) == 0
    assert [row["line"] for row in pq.read_table(tmp_path / "out" / "rejects").to_pylist()] == [2]


TWICE = {  # `same` stands in both lists, twice in the second; thing 0 > dog 1 > husky 2
    "a.txt": "other\t0\nsame\t1:0.5\n",
    "b.txt": "one\t0\nsame\t2:0.25\nsame  1:0.75 0:0\nbad\n",
}


def annotate_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any], Any]:
    """(exit code, rows by key, report) of the job on the two lists, in slices and buckets of a line or two."""
    monkeypatch.setattr(stage, "SLICE_BYTES", 16)
    monkeypatch.setattr(repeated_keys, "BUCKET_BYTES", 8)
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    for name, text in TWICE.items():
        (tmp_path / name).write_text(text)
    lists = f"lists=[{tmp_path}/a.txt,{tmp_path}/b.txt]"
    output = tmp_path / "out"
    code = annotate.main([lists, f"vocabulary={tmp_path}/vocabulary.txt", f"output={output}", "max_loss=1", *options])
    rows = pq.read_table(output / "labels").to_pylist()
    assert not list((output / "labels" / "_staging").iterdir())
    return code, {row["key"]: row for row in rows}, json.loads((output / "report.json").read_text())


def test_rows_of_one_key_are_merged_before_they_are_closed(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, rows, report = annotate_twice(tmp_path, monkeypatch)
    assert code == 0
    assert sorted(rows) == ["one", "other", "same"]
    assert rows["same"] == {
        "key": "same",
        "source": f"{tmp_path}/a.txt",
        "classes": [0, 1, 2],
        "confidences": [0.75, 0.75, 0.25],
        "origins": [0, 0, 0],
    }
    lines = {"read": 6, "label rows": 3, "merged into another row of the same key": 2, "rejected": 1}
    assert report["counts"]["lines"] == lines
    # Each row alone has the leaf 1 or 2; together 1 is an ancestor of 2, and merging after closing would keep it.
    _, rows, _ = annotate_twice(tmp_path, monkeypatch, "closure=leaf_only")
    assert rows["same"]["classes"] == [2]


def test_the_first_row_of_a_key_wins_and_the_others_are_rejected(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, rows, report = annotate_twice(tmp_path, monkeypatch, "duplicates=first")
    assert code == 0
    assert rows["same"]["confidences"] == [0.5, 0.5]
    lines = {"read": 6, "label rows": 3, "merged into another row of the same key": 0, "rejected": 3}
    assert report["counts"]["lines"] == lines
    assert report["counts"]["rejected by reason"] == {"duplicate_key": 2, "no_tags": 1}
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    found = sorted((row["line"], row["text"], row["reason"]) for row in rejects)
    assert found == [
        (2, "same\t2:0.25", "duplicate_key"),
        (3, "same  1:0.75 0:0", "duplicate_key"),
        (4, "bad", "no_tags"),
    ]


def test_a_repeated_key_can_be_an_error_that_names_its_places(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"key 'same' \(.*a.txt:2 and .*b.txt:2\) stands in several rows"):
        annotate_twice(tmp_path, monkeypatch, "duplicates=error")
    assert not tables.is_done(f"{tmp_path}/out/labels")


def test_compressed_lists_are_read_in_blocks(spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_lines, "BLOCK_BYTES", 50)
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    text = "".join(f"key{n % 150}\t{n % 4}\r\n" for n in range(200))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    argv = [f"lists={tmp_path}/a.txt.gz", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    assert annotate.main([*argv, "max_loss=1", "closure=none"]) == 0
    rows = pq.read_table(tmp_path / "out" / "labels").to_pylist()
    good = {f"key{n % 150}": n % 4 for n in range(200) if n % 4 != 3}
    assert sorted(row["key"] for row in rows) == sorted(good)
    rejects = pq.read_table(tmp_path / "out" / "rejects")["line"].to_pylist()
    assert sorted(rejects) == [n + 1 for n in range(200) if n % 4 == 3]


@pytest.mark.parametrize(
    ("policy", "sandwich", "burger", "resolution"),
    [
        ("human_wins", 0.0, 1.0, "both_kept"),
        ("unknown", -1.0, 1.0, "negative_unknown"),
        ("closure_wins", 1.0, 1.0, "negative_overruled"),
    ],
)
def test_verified_absences_close_downwards_and_conflicts_are_listed(
    policy: str, sandwich: float, burger: float, resolution: str, spark: object, tmp_path: Path
) -> None:
    """food 0 > sandwich 1 > burger 2, toast 3: a burger that is no sandwich, and a picture without any sandwich."""
    vocabulary = "n00000001\t-1\tfood\nn00000002\t0\tsandwich\nn00000003\t1\tburger\nn00000004\t1\ttoast\n"
    (tmp_path / "vocabulary.txt").write_text(vocabulary)
    (tmp_path / "a.txt").write_text("odd\t2:1\t1:0\nplain\t1:0\n")
    argv = [f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    assert annotate.main([*argv, f"negatives={policy}"]) == 0
    rows = {row["key"]: row for row in pq.read_table(tmp_path / "out" / "labels").to_pylist()}
    odd = dict(zip(rows["odd"]["classes"], rows["odd"]["confidences"], strict=True))
    assert (odd[0], odd[1], odd[2]) == (1.0, sandwich, burger)
    assert (rows["plain"]["classes"], rows["plain"]["confidences"]) == ([1, 2, 3], [0.0, 0.0, 0.0])
    assert pq.read_table(tmp_path / "out" / "conflicts").to_pylist() == [
        {
            "key": "odd",
            "source": f"{tmp_path}/a.txt",
            "positive": 2,
            "positive_confidence": 1.0,
            "negative": 1,
            "resolution": resolution,
        }
    ]


def test_a_person_is_believed_before_a_machine_whichever_list_comes_first(spark: object, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "human.txt").write_text("k1\t2:0\nk2\t2:1\n")
    (tmp_path / "machine.txt").write_text("k1\t2:0.9\nk2\t2:0.4\nk3\t2:0.9\t2:0\n")
    for lists in (["human.txt", "machine.txt"], ["machine.txt", "human.txt"]):
        files = ",".join(f"{tmp_path}/{name}" for name in lists)
        argv = [f"lists=[{files}]", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
        assert annotate.main([*argv, "negatives=human_wins"]) == 0
        rows = {row["key"]: row for row in pq.read_table(tmp_path / "out" / "labels").to_pylist()}
        found = {key: dict(zip(row["classes"], row["confidences"], strict=True))[2] for key, row in rows.items()}
        assert found == {"k1": 0.0, "k2": 1.0, "k3": 0.0}
        conflicts = pq.read_table(tmp_path / "out" / "conflicts").to_pylist()
        assert sorted((row["key"], row["positive"], row["negative"], row["resolution"]) for row in conflicts) == [
            ("k1", 2, 2, "positive_overruled"),
            ("k3", 2, 2, "positive_overruled"),
        ]


def test_a_line_that_is_wrong_twice_is_rejected_twice_and_blank_lines_are_no_loss(
    spark: object, tmp_path: Path
) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "a.txt").write_text("a\t2:1\nx\nx\n\n\n")
    argv = [f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    assert annotate.main([*argv, "max_loss=0.4"]) == 0  # 2 of 5 lines
    assert annotate.main([*argv, "max_loss=0.39"]) == 3
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert sorted((row["line"], row["reason"]) for row in rejects) == [
        (2, "no_tags"),
        (3, "no_tags"),
        (4, "blank"),
        (5, "blank"),
    ]
    assert pq.read_table(tmp_path / "out" / "labels")["key"].to_pylist() == ["a"]


def test_a_run_without_negatives_withdraws_the_conflicts_of_an_earlier_one(spark: object, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "a.txt").write_text("odd\t2:1\t1:0\n")
    argv = [f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    assert annotate.main([*argv, "negatives=unknown"]) == 0
    assert tables.is_done(f"{tmp_path}/out/conflicts")
    assert annotate.main(argv) == 0
    assert not tables.is_done(f"{tmp_path}/out/conflicts")
    assert not tables.parts(f"{tmp_path}/out/conflicts")


def test_an_empty_file_among_the_matches_of_a_pattern_is_passed_over(spark: object, tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "part-0.txt").touch()
    argv = [f"lists=[{tmp_path}/part-*.txt]", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"]
    with pytest.raises(InputError, match=r"annotation list '.*part-\*.txt' is empty"):
        annotate.main(argv)
    (tmp_path / "part-1.txt").write_text("x\t0\n")
    assert annotate.main(argv) == 0
    assert pq.read_table(tmp_path / "out" / "labels")["key"].to_pylist() == ["x"]


def test_negatives_go_with_closed_max_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="negatives=unknown goes with closure=closed_max, got closure=none"):
        annotate.main(["lists=a", "vocabulary=b", "output=c", "negatives=unknown", "closure=none"])


@pytest.mark.parametrize("share", ["-0.1", "1.1", ".nan"])
def test_max_loss_is_a_share(share: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_loss is a share from 0 to 1"):
        annotate.main(["lists=a", "vocabulary=b", "output=c", f"max_loss={share}"])


def test_an_output_that_is_not_ours_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    (tmp_path / "a.txt").write_text("x\t0\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("mine")
    with pytest.raises(InputError, match="was not written by ml-images"):
        annotate.main([f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt", f"output={tmp_path}/out"])
    assert (tmp_path / "out" / "report.json").read_text() == "mine"


def test_a_full_disk_is_one_line_and_nothing_is_taken_for_done(tmp_path: Path, commands: dict[str, str]) -> None:
    """A file system of 128 KiB, in a mount namespace of the test's own."""
    (tmp_path / "vocabulary.txt").write_text(VOCABULARY)
    lines = (f"{os.urandom(16).hex()}\t2:0.{i:05}\n" for i in range(20_000))  # random keys do not compress
    (tmp_path / "a.txt").write_text("".join(lines))
    (tmp_path / "small").mkdir()
    job = ["ml-images", "annotate", f"lists={tmp_path}/a.txt", f"vocabulary={tmp_path}/vocabulary.txt"]
    words = " ".join([*job, f"output={tmp_path}/small/out"])
    script = f"""
        mount -t tmpfs -o size=128k none {tmp_path}/small && {words}; code=$?; find {tmp_path}/small
        mount -o remount,size=64m {tmp_path}/small && {words} > {tmp_path}/second.txt 2>&1 || exit 99
        exit $code"""
    answer = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        env=commands,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    told = [line for line in answer.stderr.splitlines() if line.startswith("ml-images: ")]
    assert len(told) == 1
    assert "no space left on the device" in told[0]
    assert "Traceback" not in answer.stderr
    assert "_SUCCESS" not in answer.stdout
    assert not [line for line in answer.stdout.splitlines() if line.endswith(".parquet")]
    again = (tmp_path / "second.txt").read_text()  # with space again, the same command works
    assert re.search(r"label rows +20,000\n", again), again


@pytest.mark.real_data
@pytest.mark.parametrize(("closure", "labels"), [("none", 827), ("closed_max", 1103), ("leaf_only", 246)])
def test_the_published_sample_has_its_known_counts(
    closure: str, labels: int, spark: object, shared_data: Path, tmp_path: Path
) -> None:
    lists = shared_data / "ml-images" / "train_urls_tiny.txt"
    vocabulary = shared_data / "ml-images" / "dictionary_and_semantic_hierarchy.txt"
    assert (
        annotate.main([f"lists={lists}", f"vocabulary={vocabulary}", f"output={tmp_path}", f"closure={closure}"]) == 0
    )
    table = pq.read_table(tmp_path / "labels")
    assert table.num_rows == 100
    classes = [c for row in table["classes"].to_pylist() for c in row]
    assert len(classes) == labels
    if closure == "closed_max":
        assert len(set(classes)) == 238
    assert pq.read_table(tmp_path / "vocabulary").num_rows == 11166
