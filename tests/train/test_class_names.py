from collections.abc import Callable
from pathlib import Path

import pytest
from trained_builder import untrained, write_checkpoint

from ml_images.errors import InputError
from ml_images.hierarchy.vocabulary import parse_vocabulary, to_table
from ml_images.storage import tables
from ml_images.train.class_names import find_names, find_names_of_labels, numbers_for_names
from ml_images.train.class_tables import first_names
from ml_images.train.dataset import read_split
from ml_images.train.trained import Trained, load_trained

TEXT = "n00000001\t-1\tanimal, beast\nn00000002\t0\tdog\n"
VOCABULARY = to_table(parse_vocabulary(TEXT.encode(), "v"))


def trained(folder: Path, *names: str, data: str = "") -> Trained:
    path = write_checkpoint(folder, untrained(num_classes=2), class_names=names or None, data={"path": data})
    return load_trained(path)


def test_a_class_is_called_by_its_first_name() -> None:
    assert first_names(VOCABULARY) == ["animal", "dog"]
    assert numbers_for_names(3) == ("0", "1", "2")


def test_names_are_those_of_the_given_vocabulary_or_of_the_checkpoint(tmp_path: Path) -> None:
    tables.write_table(f"{tmp_path}/vocabulary", "vocabulary", VOCABULARY)
    (tmp_path / "v.txt").write_text(TEXT)
    for given in (f"{tmp_path}/vocabulary", f"{tmp_path}/v.txt"):
        assert find_names(given, trained(tmp_path / "a", "cat", "mouse")) == ("animal", "dog")
    assert find_names("", trained(tmp_path / "a", "cat", "mouse")) == ("cat", "mouse")


def test_the_path_of_the_runs_data_set_tells_no_names(tmp_path: Path) -> None:
    """Another data set may lie there by now, or where the path leads to from here."""
    tables.write_part(f"{tmp_path}/mine/_vocabulary", VOCABULARY)
    assert find_names("", trained(tmp_path / "a", data=f"{tmp_path}/mine")) is None


def test_labels_of_classes_with_other_names_are_refused(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = make_dataset(train=(4,), val=(4,), num_classes=2)
    split = read_split(str(dataset), "val")
    assert find_names_of_labels("", trained(tmp_path / "a"), split) is None
    assert find_names_of_labels("", trained(tmp_path / "a", "dog", "animal"), split) == ("dog", "animal")
    tables.write_part(f"{dataset}/_vocabulary", VOCABULARY)
    assert find_names_of_labels("", trained(tmp_path / "a"), split) == ("animal", "dog")
    assert find_names_of_labels("", trained(tmp_path / "a", "animal", "dog"), split) == ("animal", "dog")
    with pytest.raises(InputError, match=r"2 classes have other names .*, class 0 'animal' and 'dog': give voc"):
        find_names_of_labels("", trained(tmp_path / "a", "dog", "animal"), split)
    (tmp_path / "v.txt").write_text(TEXT)
    given = f"{tmp_path}/v.txt"
    assert find_names_of_labels(given, trained(tmp_path / "a", "dog", "animal"), split) == ("animal", "dog")


def test_another_number_of_names_than_the_network_has_classes_is_refused(tmp_path: Path) -> None:
    tables.write_table(f"{tmp_path}/vocabulary", "vocabulary", VOCABULARY.slice(0, 1))
    with pytest.raises(InputError, match="has 1 classes, the checkpoint 2"):
        find_names(f"{tmp_path}/vocabulary", trained(tmp_path / "a"))
    with pytest.raises(InputError, match="does not exist"):
        find_names(f"{tmp_path}/missing", trained(tmp_path / "a"))
    with pytest.raises(InputError, match="has 3 names for 2 classes"):
        trained(tmp_path / "b", "cat", "dog", "mouse")
