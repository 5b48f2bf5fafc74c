from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from dataset_builder import COLOURS, jpeg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from trained_builder import untrained, write_checkpoint

from ml_images import schemas
from ml_images.train.apply import TopConfig, best_classes, extract_features, predict, predictions_schema, probabilities
from ml_images.train.trained import load_trained

PICTURES = [jpeg(colour) for colour in COLOURS[:3]]
SCORES = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=st.sampled_from((0, 0.25, 0.5, 1))
)


@given(SCORES, st.integers(0, 10), st.data())
def test_best_classes_are_those_of_a_slow_sort(scores: NDArray[np.float32], top: int, data: st.DataObject) -> None:
    num_classes = scores.shape[1]
    least = data.draw(st.lists(st.sampled_from((0.0, 0.25, 0.6)), min_size=num_classes, max_size=num_classes))
    offsets, classes, kept = best_classes(torch.from_numpy(scores), top, np.array(least, np.float32))
    assert (offsets.dtype, classes.dtype, kept.dtype) == (np.int32, np.int32, np.float32)
    for number, row in enumerate(scores.tolist()):
        wanted = sorted((-score, place) for place, score in enumerate(row) if score >= least[place])[: top or None]
        told = slice(offsets[number], offsets[number + 1])
        assert classes[told].tolist() == [place for _, place in wanted]
        assert kept[told].tolist() == [-score for score, _ in wanted]
    assert offsets[-1] == len(classes) == len(kept)


def test_all_classes_are_told_where_all_are_asked_for_also_those_whose_score_is_too_small_for_a_number() -> None:
    scores = torch.tensor([[0.0, 120.0, 3.0]]).softmax(dim=1)
    assert best_classes(scores, 0, np.zeros(3, np.float32)).classes.tolist() == [1, 0, 2]
    assert best_classes(scores, 0, np.full(3, 1e-30, np.float32)).classes.tolist() == [1]


def test_predictions_are_lists_of_classes_scores_and_names(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, untrained())
    names = ("a", "b", "c", "d", "e", "f")
    found = predict(2, 1, np.zeros(6, np.float32), names, str(path), 1, -1)([PICTURES[0], b"no", *PICTURES[1:]])
    assert found.outcomes == ["ok", "not_an_image", "ok", "ok"]
    table = pa.table([pa.array(["x", "y", "z"]), *found.columns], schema=predictions_schema(True))
    assert table.select(schemas.PREDICTIONS.names).schema.equals(schemas.PREDICTIONS)
    trained = load_trained(path)
    for row in table.to_pylist():
        assert len(row["classes"]) == 2
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert row["names"] == [names[number] for number in row["classes"]]
    assert trained.activation == "sigmoid"


def test_scores_add_up_to_one_only_where_an_image_has_one_class(tmp_path: Path) -> None:
    logits = torch.randn(4, 6)
    softmax = load_trained(write_checkpoint(tmp_path / "a", untrained(), loss={"name": "softmax"}))
    assert probabilities(logits, softmax).sum(dim=1).tolist() == pytest.approx([1.0] * 4)
    sigmoid = load_trained(write_checkpoint(tmp_path / "b", untrained()))
    assert torch.equal(probabilities(logits, sigmoid), logits.sigmoid())


def test_features_are_one_matrix_without_a_copy(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, untrained())
    (column,) = extract_features(str(path), 1, -1)(PICTURES).columns
    assert column.type == schemas.features(64).field("features").type
    matrix = column.values.to_numpy(zero_copy_only=True).reshape(len(column), -1)
    assert matrix.shape == (3, 64)
    assert np.ptp(matrix, axis=0).max() > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top": -1}, "top must be >= 0"),
        ({"above": 1.0}, r"above must be in \[0, 1\)"),
        ({"crops": 3}, "crops must be"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TopConfig(**options)
