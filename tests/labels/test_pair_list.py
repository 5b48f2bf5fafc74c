from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images import schemas
from ml_images.errors import InputError
from ml_images.labels.pair_list import read_pairs
from ml_images.storage import tables


def pairs(location: object, num_classes: int = 6) -> list[tuple[int, int]]:
    found = read_pairs(str(location), num_classes)
    assert len(found.indptr) == num_classes + 1
    return [(c, j) for c in range(num_classes) for j in found.implied[found.indptr[c] : found.indptr[c + 1]].tolist()]


def test_all_four_forms_hold_the_same_pairs(tmp_path: Path) -> None:
    classes, implied = [4, 0, 4, 4], [1, 5, 0, 1]  # 4 -> 1 twice
    plain = pa.table({"implied": pa.array(implied), "note": ["a", "b", "c", "d"], "class": pa.array(classes)})
    (tmp_path / "folder").mkdir()
    pq.write_table(plain, tmp_path / "pairs.parquet")
    pq.write_table(plain.slice(0, 1), tmp_path / "folder" / "a.parquet")
    pq.write_table(plain.slice(1), tmp_path / "folder" / "b.parquet")
    (tmp_path / "pairs.csv").write_text("class,implied,why\n4,1,x\n0,5,y\n4,0,z\n4,1,x\n")
    strong = pa.table([classes, implied, [9] * 4, [9] * 4, [1.0] * 4], schema=schemas.STRONG_PAIRS)
    tables.write_table(str(tmp_path / "strong"), "strong_pairs", strong)
    for name in ("pairs.parquet", "folder", "pairs.csv", "strong"):
        assert pairs(tmp_path / name) == [(0, 5), (4, 0), (4, 1)], name


def test_no_pairs_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("class,implied\n")
    assert pairs(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("class,other\n1,2\n", "no column 'implied', only class, other"),
        ("class,implied\n1,dog\n", "column 'implied' holds string, class numbers are expected"),
        ("class,implied\n1,2.5\n", "column 'implied' holds double"),
        ("class,implied\n1,\n1,2\n", "column 'implied' has an empty value"),
        ("class,implied\n1,6\n", "implied 6 is not in the vocabulary, expected 0 to 5"),
        ("class,implied\n-1,2\n", "class -1 is not in the vocabulary"),
        ("class,implied\n3,3\n", "class 3 implies itself"),
        ("class,implied\n1,2,3\n", "are not CSV"),
        ("", "is empty"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(InputError, match=says) as caught:
        read_pairs(str(tmp_path / "p.csv"), 6)
    assert "p.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_what_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("class implied")
    tables.write_table(str(tmp_path / "other"), "pairs", pa.table({"class": [1]}))
    for name, says in (
        ("empty", "without Parquet files"),
        ("text.txt", "neither Parquet nor named .csv"),
        ("other", "is not a strong_pairs table"),
        ("missing.csv", "does not exist"),
    ):
        with pytest.raises(InputError, match=says):
            read_pairs(str(tmp_path / name), 6)
