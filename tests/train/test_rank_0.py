from typing import Any

import pytest

from ml_images.errors import InputError, StorageError
from ml_images.train import rank_0
from ml_images.train.comm import LocalComm
from ml_images.train.rank_0 import from_rank_0, said_by_rank_0


class OtherRank(LocalComm):
    """Rank 1, which hears `told` from rank 0."""

    rank, size = 1, 2

    def __init__(self, told: Any) -> None:
        self.told = told

    def broadcast_json(self, value: Any, name: str) -> Any:
        return self.told


@pytest.mark.parametrize("kind", [InputError, StorageError])
def test_only_rank_0_looks_and_only_rank_0_complains(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind("one line")

    told = []
    monkeypatch.setattr(LocalComm, "broadcast_json", lambda self, value, name: told.append(value))

    monkeypatch.setattr(rank_0, "LET_RANK_0_SPEAK_S", 0.0)
    with pytest.raises(kind, match="one line"):
        from_rank_0(LocalComm(), fail, "x")
    assert told == [{}]
    assert from_rank_0(OtherRank({"value": 5}), fail, "x") == 5
    with pytest.raises(SystemExit) as ended:
        from_rank_0(OtherRank({}), fail, "x")
    assert ended.value.code == 2


def test_what_is_wrong_everywhere_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_0, "LET_RANK_0_SPEAK_S", 0.0)
    with pytest.raises(InputError, match="one line"), said_by_rank_0(0):
        raise InputError("one line")
    with pytest.raises(SystemExit) as ended, said_by_rank_0(1):
        raise InputError("one line")
    assert ended.value.code == 2
    with pytest.raises(RuntimeError, match="a bug"), said_by_rank_0(1):
        raise RuntimeError("a bug")
