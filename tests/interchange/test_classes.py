from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.interchange.classes import class_of_folders, read_vocabulary

TEXT = b"n1\t-1\tthing\nn2\t0\tdog\nn3\t0\tcat\n"
VOCABULARY = to_table(parse_vocabulary(TEXT, "v.txt"))


def test_folders_are_a_vocabulary_where_there_is_none() -> None:
    classes, vocabulary = class_of_folders(["dog", "cat", "dog"], None)
    assert classes == {"cat": 0, "dog": 1} and vocabulary is not None
    assert vocabulary.to_pylist()[1] == {"class": 1, "id": "dog", "names": ["dog"], "parents": [], "depth": 0}
    assert class_of_folders([], None) == ({}, None)


def test_folders_are_ids_or_numbers_of_a_vocabulary() -> None:
    classes, vocabulary = class_of_folders(["n3", "00001"], VOCABULARY)
    assert classes == {"n3": 2, "00001": 1} and vocabulary is VOCABULARY
    with pytest.raises(
        InputError,
        match=r"folder '3' is no class: accepted are the ids of the vocabulary .n1, \.\.\.. and numbers below 3",
    ):
        class_of_folders(["3"], VOCABULARY)
    with pytest.raises(InputError, match="folder 'bird'"):
        class_of_folders(["bird"], VOCABULARY)


def test_numbers_that_are_ids_of_other_classes_are_read_in_one_way() -> None:
    text = b"".join(b"%d\t-1\tx\n" % id for id in range(1, 12))  # ids 1 to 11 are the classes 0 to 10
    vocabulary = to_table(parse_vocabulary(text, "v.txt"))
    assert class_of_folders(["09", "10"], vocabulary)[0] == {"09": 9, "10": 10}  # 09 is no id
    assert class_of_folders(["2", "11"], vocabulary)[0] == {"2": 1, "11": 10}  # 11 is no class's number
    with pytest.raises(InputError, match="folder '10' is the id of class 9 and the number of another class"):
        class_of_folders(["10"], vocabulary)


def test_vocabularies_are_read_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(TEXT)
    pq.write_table(VOCABULARY, tmp_path / "v.parquet")
    for name in ("v.txt", "v.parquet"):
        assert read_vocabulary(str(tmp_path / name), "auto").equals(VOCABULARY)
    (tmp_path / "x.parquet").write_bytes(b"none")
    with pytest.raises(InputError, match=r"x.parquet' cannot be read") as caught:
        read_vocabulary(str(tmp_path / "x.parquet"), "auto")
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y.parquet")
    with pytest.raises(InputError, match="has the columns a, not"):
        read_vocabulary(str(tmp_path / "y.parquet"), "auto")
