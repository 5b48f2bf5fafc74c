from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from trained_builder import untrained, write_checkpoint

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.train.least_scores import least_scores
from ml_images.train.trained import Trained, load_trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Of 6 classes and 32 pixels."""
    return load_trained(write_checkpoint(tmp_path_factory.mktemp("run"), untrained()))


def write(folder: Path, columns: dict[str, Any]) -> str:
    location = f"{folder}/mine.parquet"
    tables.write_part(location, pa.table(columns))
    return location


def test_without_thresholds_every_class_needs_more_than_above(trained: Trained) -> None:
    assert least_scores(0.0, "", trained).tolist() == [0] * 6
    (least,) = set(least_scores(0.3, "", trained).tolist())
    assert np.float32(0.3) < least < 0.3000001


def test_classes_with_a_threshold_need_that_and_the_others_more_than_above(trained: Trained, tmp_path: Path) -> None:
    given = write(tmp_path, {"class": [4, 1, 0], "threshold": [0.25, 1.0, None]})
    assert least_scores(0.0, given, trained).tolist() == [0, 1, 0, 0, 0.25, 0]
    assert (np.delete(least_scores(0.5, given, trained), [1, 4]) > 0.5).all()


def test_of_an_evaluation_at_several_sizes_that_of_the_network_counts(trained: Trained, tmp_path: Path) -> None:
    columns = {"class": [2, 2], "threshold": [0.1, 0.75], "image_size": [64, trained.image_size]}
    assert least_scores(0.0, write(tmp_path, columns), trained).tolist() == [0, 0, 0.75, 0, 0, 0]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"class": [6], "threshold": [0.5]}, "has 0.5 for class 6, the network has the classes 0 to 5"),
        ({"class": [-1], "threshold": [0.5]}, "has 0.5 for class -1, the network has"),
        ({"class": [3], "threshold": [1.5]}, "has 1.5 for class 3, scores are from 0 to 1"),
        ({"class": [3], "threshold": [float("nan")]}, "has nan for class 3, scores are from 0 to 1"),
        ({"class": [3, 1, 3], "threshold": [0.5, 0.5, 0.6]}, "has 2 rows of class 3, one is expected"),
        ({"class": [None, 1], "threshold": [0.5, 0.5]}, "has a threshold without a class"),
        ({"class": [3]}, "has no column threshold; expected the table per_class"),
        ({"class": ["three"], "threshold": [0.5]}, "cannot be read: Failed to parse string"),
        ({"class": [1], "threshold": [0.5], "image_size": [99]}, r"is of pictures of 99 pixels, the network is shown"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused_in_one_line(
    columns: dict[str, Any], says: str, trained: Trained, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        least_scores(0.0, write(tmp_path, columns), trained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "missing.parquet", "text.parquet"])
def test_what_is_no_table_of_thresholds_is_told(name: str, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("class,threshold")
    with pytest.raises(InputError, match=name):
        least_scores(0.0, f"{tmp_path}/{name}", trained)
