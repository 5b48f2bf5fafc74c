from pathlib import Path

import numpy as np
import pytest

from ml_images.errors import StorageError
from ml_images.train import score_store
from ml_images.train.score_store import ScoreStore


def kept(store: ScoreStore, first: int, end: int) -> list[list[float]]:
    return np.concatenate([part[:, :images].copy() for part, images in store.read(first, end)], axis=1).T.tolist()


@pytest.mark.parametrize("tile_bytes", [1, 3 * 5 * 4, 1 << 20])
@pytest.mark.parametrize("kept_bytes", [0, 2 * 60, 1 << 20])
@pytest.mark.parametrize("cuts", [[25], [1, 2, 3, 11, 12], [3, 6, 9, 12, 24]])
def test_the_classes_come_back_as_they_were_added(
    tile_bytes: int, kept_bytes: int, cuts: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(score_store, "TILE_BYTES", tile_bytes)
    monkeypatch.setattr(score_store, "KEPT_BYTES", kept_bytes)
    scores = np.arange(125, dtype=np.float32).reshape(25, 5)
    store = ScoreStore(5, tmp_path)
    for part in np.split(scores, cuts):
        store.add(part)
    for first, end in ((0, 5), (1, 3), (4, 5)):
        assert kept(store, first, end) == scores[:, first:end].tolist()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_only_what_may_not_stay_in_memory_goes_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_store, "TILE_BYTES", 4 * 2 * 3)
    monkeypatch.setattr(score_store, "KEPT_BYTES", 4 * 2 * 3 * 2)
    store = ScoreStore(2, Path("/no/such/folder"))
    store.add(np.ones((8, 2), np.float32))  # two tiles of three images, and two images
    assert len(kept(store, 0, 2)) == 8
    with pytest.raises(StorageError, match=r"cannot write /no/such/folder: No such file"):
        store.add(np.ones((1, 2), np.float32))
