import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.jobs import augment, describe, materialize
from ml_images.storage import tables

VOCABULARY = b"n0\t-1\tanimal\nn1\t0\tsnake\nn2\t-1\twater\nn3\t2\tsea\n"
REJECT = {"source": "l", "line": 3, "text": "x", "reason": "no_tags"}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Three snakes: one alone, one where somebody saw no water, one that is in the sea."""
    rows = {
        "alone": {0: (1.0, 1), 1: (1.0, 0)},
        "dry": {0: (1.0, 1), 1: (1.0, 0), 2: (0.0, 4)},
        "wet": {0: (1.0, 1), 1: (1.0, 0), 2: (0.5, 1), 3: (0.5, 0)},
    }
    columns = [
        list(rows),
        ["l"] * 3,
        [list(row) for row in rows.values()],
        [[confidence for confidence, _ in row.values()] for row in rows.values()],
        [[origin for _, origin in row.values()] for row in rows.values()],
    ]
    folder = tmp_path / "annotate"
    labels = pa.table(columns, schema=schemas.LABELS)
    tables.write_table(f"{folder}/labels", "labels", labels.slice(0, 1))
    tables.write_part(f"{folder}/labels/part-000001.parquet", labels.slice(1))
    tables.write_table(f"{folder}/rejects", "rejects", pa.Table.from_pylist([REJECT], schema=schemas.REJECTS))
    tables.write_table(f"{folder}/vocabulary", "vocabulary", to_table(parse_vocabulary(VOCABULARY, "vocabulary")))
    (tmp_path / "pairs.csv").write_text("class,implied\n1,3\n")
    return folder


def test_pairs_add_labels_with_their_origin_to_every_image_of_the_class(
    given: Path, spark: object, tmp_path: Path
) -> None:
    argv = [f"annotations={given}", f"pairs={tmp_path}/pairs.csv", f"output={tmp_path}/out", "confidence=0.75"]
    assert augment.main(argv) == 0
    before, after = pq.read_table(given / "labels"), pq.read_table(tmp_path / "out" / "labels")
    assert after.schema.equals(schemas.LABELS)
    assert after.slice(1).equals(before.slice(1))  # dry is held back, wet has the sea
    assert after.slice(0, 1).to_pylist() == [
        {
            "key": "alone",
            "source": "l",
            "classes": [0, 1, 2, 3],
            "confidences": [1.0, 1.0, 0.75, 0.75],
            "origins": [1, 0, 1, 2],
        }
    ]
    for table in ("rejects", "vocabulary"):
        assert pq.read_table(tmp_path / "out" / table).equals(pq.read_table(given / table))
    counts = json.loads((tmp_path / "out" / "report.json").read_text())["counts"]
    assert counts["images"] == {"label rows": 3, "changed by pairs": 1}
    assert counts["labels"] == {
        "before": 9,
        "ancestors that were missing": 0,
        "added by pairs": 1,
        "added as their ancestors": 1,
        "of those added, unknown before": 0,
        "after": 11,
    }
    assert counts["implied labels"] == {"added": 1, "present already": 1, "held back as verified absent": 1}


def test_the_next_jobs_take_the_output_for_annotations(chain: Any, spark: object, tmp_path: Path) -> None:
    labels = pq.read_table(chain.annotate / "labels")
    rows = zip(labels["classes"].to_pylist(), labels["confidences"].to_pylist(), strict=True)
    often = [c for classes, confidences in rows for c, conf in zip(classes, confidences, strict=True) if conf > 0]
    pair = max(range(200), key=often.count), min(range(20), key=often.count)
    (tmp_path / "pairs.csv").write_text(f"class,implied\n{pair[0]},{pair[1]}\n")
    out = f"{tmp_path}/out"
    assert augment.main([f"annotations={chain.annotate}", f"pairs={tmp_path}/pairs.csv", f"output={out}"]) == 0
    augmented = pq.read_table(f"{out}/labels")
    assert augmented["key"].equals(labels["key"])
    assert sum(2 in origins for origins in augmented["origins"].to_pylist()) > 20
    assert describe.main([f"annotations={out}", f"output={tmp_path}/describe"]) == 0
    lines = json.loads((tmp_path / "describe/report.json").read_text())["lines"]
    told = json.loads((chain.annotate / "report.json").read_text())["counts"]["lines"]
    assert (lines["read"], lines["merged"]) == (told["read"], told["merged into another row of the same key"])
    assert lines["merged"] > 0
    images = [f"images={chain.download}/images", "splits.val=0.3"]
    assert materialize.main([f"annotations={out}", *images, f"output={tmp_path}/materialize", "layout.ranks=4"]) == 0


def test_pairs_of_another_vocabulary_and_its_own_input_as_output_are_refused(given: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("class,implied\n1,4\n")
    for pairs, output, says in (
        ("other.csv", "out", "implied 4 is not in the vocabulary, expected 0 to 3"),
        ("pairs.csv", "annotate", "is also the input"),
    ):
        with pytest.raises(InputError, match=says):
            augment.main([f"annotations={given}", f"pairs={tmp_path}/{pairs}", f"output={tmp_path}/{output}"])
    assert not (tmp_path / "out").exists()


def test_labels_that_break_the_contract_are_refused(given: Path, spark: object, tmp_path: Path) -> None:
    row = {"key": "k", "source": "l", "classes": [9], "confidences": [1.0], "origins": [0]}
    tables.write_table(f"{given}/labels", "labels", pa.Table.from_pylist([row], schema=schemas.LABELS))
    with pytest.raises(InputError, match="labels table: class 9"):
        augment.main([f"annotations={given}", f"pairs={tmp_path}/pairs.csv", f"output={tmp_path}/out"])


@pytest.mark.parametrize("confidence", ["0", "1.5", "-1"])
def test_what_is_added_is_positive(confidence: str) -> None:
    with pytest.raises(InputError, match="confidence must be above 0 and at most 1"):
        augment.main(["annotations=a", "pairs=b", "output=c", f"confidence={confidence}"])
