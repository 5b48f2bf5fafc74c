import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from torch import Tensor, nn

from ml_images.train import agreement
from ml_images.train.agreement import ranks_that_differ, weights_checksum


def model_of(*values: Tensor) -> nn.Module:
    return nn.ParameterList([nn.Parameter(value.clone(), requires_grad=value.is_floating_point()) for value in values])


def chance(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def slowly(model: nn.Module) -> int:
    """The same sum in Python's own numbers, for parameters of 32 bits."""
    factors = agreement._factors(torch.device("cpu")).tolist()
    sums = []
    for parameter in model.parameters():
        bits = parameter.detach().flatten().view(torch.int32).tolist()
        stretches = [bits[first : first + len(factors)] for first in range(0, len(bits), len(factors))]
        sums += [sum(a * b for a, b in zip(part, factors, strict=False)) for part in stretches]
    total = sum(a * b for a, b in zip(sums, factors, strict=False)) % 2**64
    return total - 2**64 if total >= 2**63 else total


def test_the_checksum_is_the_sum_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_STRETCH", 100)
    agreement._factors.cache_clear()
    model = model_of(chance(17, 31), chance(3), chance(1, 250))
    assert int(weights_checksum(model)) == slowly(model)
    agreement._factors.cache_clear()


def test_every_single_bit_shows() -> None:
    weights = chance(6)
    plain = int(weights_checksum(model_of(weights)))
    assert int(weights_checksum(model_of(weights.clone()))) == plain
    seen = {plain}
    for place in range(6):
        for bit in range(32):
            changed = weights.clone()
            changed.view(torch.int32)[place] ^= -(2**31) if bit == 31 else 1 << bit
            seen.add(int(weights_checksum(model_of(changed))))
    assert len(seen) == 1 + 6 * 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_differences_that_a_plain_sum_would_miss_show(dtype: torch.dtype) -> None:
    """The same weights at other places, and as many changes up as down; of signs, two at a time."""
    weights = torch.arange(1, 41, dtype=dtype)
    models = [model_of(weights), model_of(weights.flip(0)), model_of(weights[:20], weights[20:])]
    models += [model_of(weights[20:], weights[:20]), model_of(torch.zeros(40, dtype=dtype))]
    for one in range(0, 40, 3):
        for other in range(one):
            signs = weights.clone()
            signs[[one, other]] *= -1
            swapped = weights.clone()
            swapped[[one, other]] = swapped[[other, one]]
            models += [model_of(signs), model_of(swapped)]
    assert len({int(weights_checksum(model)) for model in models}) == len(models)


def test_how_weights_lie_in_memory_and_what_else_a_model_holds_does_not_matter() -> None:
    weights = chance(4, 3, 5, 5)
    last = model_of(weights.contiguous(memory_format=torch.channels_last))
    assert int(weights_checksum(last)) == int(weights_checksum(model_of(weights)))
    norm = nn.BatchNorm2d(3)
    before = int(weights_checksum(norm))
    norm(chance(2, 3, 4, 4))
    assert int(weights_checksum(norm)) == before


@pytest.mark.parametrize(
    ("held", "differing"),
    [
        ([1, 1, 1, 1], []),
        ([1, 1, 2, 1], [2]),
        ([2, 1, 1, 1], [0]),
        ([1, 2, 1, 3], [1, 3]),
        ([2, 1], [1]),
        ([1, 1, 2, 2], [2, 3]),
    ],
    ids=str,
)
def test_all_ranks_name_those_that_are_not_like_most(held: list[int], differing: list[int]) -> None:
    def on_rank(comm: ThreadComm) -> list[int]:
        return ranks_that_differ(model_of(torch.full((3,), float(held[comm.rank]))), comm)

    assert on_ranks(len(held), on_rank) == [differing] * len(held)
