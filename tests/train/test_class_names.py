from pathlib import Path

import pyarrow as pa
import pytest
from trained_builder import untrained, write_checkpoint

from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.storage import tables
from ml_images.train.class_names import class_names, find_vocabulary
from ml_images.train.trained import Trained, load_trained

TEXT = "n00000001\t-1\tanimal, beast\nn00000002\t0\tdog\n"
VOCABULARY = to_table(parse_vocabulary(TEXT.encode(), "v"))


def trained(folder: Path, dataset: str = "") -> Trained:
    return load_trained(write_checkpoint(folder, untrained(num_classes=2), data={"path": dataset}))


def data_set(folder: Path, vocabulary: pa.Table) -> str:
    tables.write_part(f"{folder}/_vocabulary", vocabulary)
    return str(folder)


def test_a_class_is_called_by_its_first_name() -> None:
    assert class_names(VOCABULARY, 2) == ["animal", "dog"]
    assert class_names(None, 3) == ["0", "1", "2"]


def test_the_vocabulary_is_the_given_one_or_that_of_a_data_set(tmp_path: Path) -> None:
    assert find_vocabulary("", trained(tmp_path / "a")) is None
    tables.write_table(f"{tmp_path}/vocabulary", "vocabulary", VOCABULARY)
    (tmp_path / "v.txt").write_text(TEXT)
    for given in (f"{tmp_path}/vocabulary", f"{tmp_path}/v.txt"):
        assert find_vocabulary(given, trained(tmp_path / "a")) == VOCABULARY
    mine, runs = data_set(tmp_path / "mine", VOCABULARY.slice(0, 2)), data_set(tmp_path / "runs", VOCABULARY)
    assert find_vocabulary("", trained(tmp_path / "b", runs)) == VOCABULARY
    assert find_vocabulary("", trained(tmp_path / "c"), mine) == VOCABULARY
    for gone in (str(tmp_path / "gone"), "s3+http://127.0.0.1:9/bucket/dataset"):
        assert find_vocabulary("", trained(tmp_path / "d", gone)) is None


def test_another_vocabulary_than_the_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 1 classes, the checkpoint 2"):
        find_vocabulary("", trained(tmp_path / "a"), data_set(tmp_path / "set", VOCABULARY.slice(0, 1)))
    with pytest.raises(InputError, match="does not exist"):
        find_vocabulary(f"{tmp_path}/missing", trained(tmp_path / "a"))
