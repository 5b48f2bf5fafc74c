"""The made-up evaluation is the same in every process, and as skewed as the real one."""

import importlib
from pathlib import Path

import numpy as np
import pytest


def test_pieces_are_the_same_wherever_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    sets = importlib.import_module("score_sets")
    assert sets.pieces(600) == 3
    made = [sets.make_piece(number, 600, 50) for number in (0, 1, 2, 2)]
    assert [len(piece.scores) for piece in made] == [256, 256, 88, 88]
    assert all(np.array_equal(one, other) for one, other in zip(made[2], made[3], strict=True))
    assert not np.array_equal(made[0].scores, made[1].scores)
    for piece in made:
        lists = np.split(piece.classes, piece.offsets[1:-1])
        assert len(lists) == len(piece.scores)
        assert all((np.diff(classes) > 0).all() for classes in lists)


def test_classes_occur_as_often_as_in_ml_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    images = importlib.import_module("score_sets").shares(11_166) * 17_609_752
    assert 340 <= (images < 1).sum() <= 350
    assert np.median(images) == pytest.approx(1191, rel=0.05)
    assert 8.5 < images.sum() / 17_609_752 < 12.5  # tags of an image: 8.78, some 11 in the validation split
