import sys

import pytest
import torch
from torch import nn

from ml_images.errors import InputError
from ml_images.train.comm import LocalComm, averaged_buffers, open_comm
from ml_images.train.model import ModelConfig, build_model


class TwinComm(LocalComm):
    """Rank 0 of two, the other of which holds `other`."""

    size = 2

    def __init__(self, other: nn.Module) -> None:
        self.other = other

    def sum(self, values: torch.Tensor, name: str) -> torch.Tensor:
        return values + dict(self.other.named_buffers())[name.removeprefix("buffer.")]


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(ModelConfig("tiny_cnn"), 3)


def test_a_single_process_is_its_own_world() -> None:
    comm = open_comm({})
    values = torch.arange(3)
    assert (comm.rank, comm.size, comm.local_rank, comm.local_size) == (0, 1, 0, 1)
    assert comm.sum(values, "x").tolist() == comm.gather(values, "x").tolist() == [0, 1, 2]
    assert comm.sum(values, "x").data_ptr() != values.data_ptr()
    assert comm.broadcast_json({"a": [1, None]}, "x") == {"a": [1, None]}
    comm.close()


def test_alone_gradients_stay_as_they_are() -> None:
    model = tiny()
    average = open_comm({}).average_gradients(model, "fp16")
    for _ in range(2):  # there is nothing that a second backward could spoil
        model(torch.randn(2, 3, 32, 32)).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    average.wait()
    assert all(torch.equal(a, b.grad) for a, b in zip(before, model.parameters(), strict=True))


def test_a_missing_horovod_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    with pytest.raises(InputError, match=r"started by horovodrun, but Horovod cannot be imported"):
        open_comm({"HOROVOD_RANK": "0"})


def test_half_of_the_variables_of_torchrun_are_told_apart_from_all() -> None:
    with pytest.raises(InputError, match=r"RANK is set as torchrun does, but WORLD_SIZE, .*MASTER_PORT is not"):
        open_comm({"RANK": "0", "LOCAL_RANK": "0"})


def test_batch_norm_statistics_are_the_mean_of_the_ranks_for_a_while() -> None:
    model, other = tiny(), tiny()
    model(torch.randn(4, 3, 32, 32) + 3)
    other(torch.randn(4, 3, 32, 32) - 1)
    expected = [(a + b) / 2 for a, b in zip(model.buffers(), other.buffers(), strict=True) if a.is_floating_point()]
    own = [buffer.clone() for buffer in model.buffers()]
    with averaged_buffers(model, TwinComm(other)):
        found = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        assert len(found) == 6
        assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), own, strict=True))
