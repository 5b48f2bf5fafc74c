import copy

import pytest
import torch
from rank_threads import ThreadComm, on_ranks
from torch import Tensor, nn

from ml_images.train.gradients import Compression, GradientAverage, StartSum, Wait
from ml_images.train.networks import build_network
from ml_images.train.optimizers import OptimConfig, build_optimizer
from ml_images.train.sync_batch_norm import synchronise_batch_norms


def model_of(name: str = "tiny_cnn") -> nn.Module:
    torch.manual_seed(2)
    return build_network(name, 3).double()


def images_of() -> tuple[Tensor, Tensor]:
    """From a generator of its own: ranks are threads here, and share torch's."""
    chance = torch.Generator().manual_seed(3)
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64, generator=chance)
    return images, torch.rand(8, 3, dtype=torch.float64, generator=chance)


OPTIM = OptimConfig(lr=0.5, momentum=0.9, weight_decay=0)


def steps_on_one_rank(model: nn.Module, config: OptimConfig = OPTIM) -> dict[str, Tensor]:
    images, targets = images_of()
    optimizer = build_optimizer(config, model)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(images), targets).backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def steps_on_ranks(
    model: nn.Module, size: int, bucket_bytes: int, compression: Compression = "none", config: OptimConfig = OPTIM
) -> list[dict[str, Tensor]]:
    def rank(comm: ThreadComm) -> dict[str, Tensor]:
        own = copy.deepcopy(model)
        synchronise_batch_norms(own, comm)
        average, optimizer = comm.average_gradients(own, compression), build_optimizer(config, own)
        images, targets = (part.chunk(size)[comm.rank] for part in images_of())
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(own(images), targets).backward()
            average.wait()
            optimizer.step()
        return {name: tensor.detach() for name, tensor in own.state_dict().items()}

    return on_ranks(size, rank, bucket_bytes)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("bucket_bytes", [0, 20_000, 1 << 30])
def test_steps_on_ranks_are_the_steps_of_one_rank_with_all_images(size: int, bucket_bytes: int) -> None:
    """With batch norm synchronised: B / N images on each of N ranks leave the weights of B images on one."""
    expected = steps_on_one_rank(model_of())
    for found in steps_on_ranks(model_of(), size, bucket_bytes):
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.allclose(found[name], tensor, atol=1e-12), name


def test_gradients_are_clipped_after_they_have_been_averaged() -> None:
    """The mean of gradients that were clipped on each rank would be another one."""
    config = OptimConfig(lr=0.5, momentum=0.9, weight_decay=0, clip_norm=0.05)
    expected = steps_on_one_rank(model_of(), config)
    assert not torch.allclose(expected["fc.weight"], steps_on_one_rank(model_of())["fc.weight"], atol=1e-3)
    for found in steps_on_ranks(model_of(), 2, 0, config=config):
        assert all(torch.allclose(found[name], tensor, atol=1e-12) for name, tensor in expected.items())


@pytest.mark.parametrize(("compression", "tolerance"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_compressed_gradients_are_near_and_the_same_on_all_ranks(compression: Compression, tolerance: float) -> None:
    expected = steps_on_one_rank(model_of())
    one, other = steps_on_ranks(model_of(), 2, 20_000, compression)
    furthest = max(float((one[name] - tensor).abs().max()) for name, tensor in expected.items())
    assert 1e-7 < furthest < tolerance
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("bucket_bytes", [0, 20_000, 1 << 30])
def test_weights_in_channels_last_order_get_the_same_gradients(bucket_bytes: int) -> None:
    expected = steps_on_one_rank(model_of())
    model = model_of().to(memory_format=torch.channels_last)
    for found in steps_on_ranks(model, 2, bucket_bytes):
        assert all(torch.allclose(found[name], tensor, atol=1e-12) for name, tensor in expected.items())


@pytest.mark.parametrize("weight_order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("alone", [True, False])
def test_gradients_travel_as_their_weights_lie_in_memory_and_stay_there_if_they_lie_so(
    weight_order: torch.memory_format, gradient_order: torch.memory_format, alone: bool
) -> None:
    model = nn.Conv2d(2, 3, 3, bias=not alone).to(memory_format=weight_order)
    gradient = torch.arange(54.0).view(3, 2, 3, 3)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.weight.grad = given = gradient.clone(memory_format=gradient_order)
    sent: list[Tensor] = []
    places: list[int] = []

    def tripled(values: Tensor, name: str) -> Wait:
        sent.append(values.clone())
        places.append(values.data_ptr())

        def wait() -> None:
            values.mul_(3)

        return wait

    (bucket,) = GradientAverage(model, 2, tripled, 1 << 20)._buckets
    bucket.start(tripled)
    by_order = {torch.contiguous_format: gradient, torch.channels_last: gradient.permute(0, 2, 3, 1)}
    assert torch.equal(sent[0][-54:], by_order[weight_order].flatten() / 2)
    assert (places[0] == given.data_ptr()) == (alone and weight_order == gradient_order)
    bucket.finish()
    assert torch.equal(model.weight.grad, gradient * 1.5)
    assert model.weight.grad is given


def noted(sent: list[str]) -> StartSum:
    """An engine that notes what it was asked to send, and sends nothing."""

    def start_sum(values: Tensor, name: str) -> Wait:
        sent.append(name)
        return lambda: None

    return start_sum


class Branches(nn.Module):
    """Rank 0 uses the one branch, others the other; nobody uses the third."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(3))

    def forward(self, value: Tensor, branch: int) -> Tensor:
        return self.branches[branch](value)


@pytest.mark.parametrize("bucket_bytes", [0, 1 << 20])
def test_a_weight_that_a_rank_did_not_use_counts_as_zero_there(bucket_bytes: int) -> None:
    def rank(comm: ThreadComm) -> list[float]:
        model = Branches()
        average = comm.average_gradients(model)
        model(torch.full((1, 1), 6.0), min(comm.rank, 1)).sum().backward()
        average.wait()
        return [float(parameter.grad) for parameter in model.parameters() if parameter.grad is not None]

    assert on_ranks(3, rank, bucket_bytes) == [pytest.approx([2, 4, 0])] * 3


def test_accumulated_gradients_are_sent_once_with_the_last_batch() -> None:
    model = model_of().eval()

    def rank(comm: ThreadComm) -> tuple[list[str], list[Tensor]]:
        own = copy.deepcopy(model)
        average = comm.average_gradients(own)
        *batches, last = zip(*(part.chunk(4) for part in images_of()), strict=True)
        with average.paused():
            for images, targets in batches:
                (own(images) * targets * (comm.rank + 1)).sum().backward()
        assert comm.sent == []
        (own(last[0]) * last[1] * (comm.rank + 1)).sum().backward()
        average.wait()
        average.wait()  # nothing new: nothing happens
        return comm.sent, [parameter.grad for parameter in own.parameters() if parameter.grad is not None]

    answers = on_ranks(2, rank)
    images, targets = images_of()
    (model(images) * targets * 1.5).sum().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    for sent, found in answers:
        assert sorted(sent) == sorted(f"gradient.{name}" for name, _ in model.named_parameters())
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, expected, strict=True))


def test_a_second_backward_before_the_step_is_refused() -> None:
    model = model_of().eval()
    average = GradientAverage(model, 2, noted([]))
    model(images_of()[0]).sum().backward()
    with pytest.raises(RuntimeError, match=r"a second backward before the step"):
        model(images_of()[0]).sum().backward()
    average.wait()


def test_frozen_weights_are_not_sent() -> None:
    model = model_of()
    model.features.requires_grad_(False)
    sent: list[str] = []
    average = GradientAverage(model, 2, noted(sent))
    model(images_of()[0]).sum().backward()
    average.wait()
    assert sorted(sent) == ["gradient.fc.bias", "gradient.fc.weight"]


def test_buckets_leave_in_one_order_whatever_order_gradients_come_in() -> None:
    """Ranks of an engine without names would otherwise add up what does not belong together."""
    orders: list[list[str]] = []
    for branch in (0, 2):
        sent: list[str] = []
        model = Branches()
        average = GradientAverage(model, 2, noted(sent))
        model(torch.ones(1, 1), branch).sum().backward()
        average.wait()
        orders.append(sent)
    assert orders[0] == orders[1] == [f"gradient.branches.{number}.weight" for number in (2, 1, 0)]


def test_an_average_that_failed_makes_room_for_another() -> None:
    """As after a lost rank: some gradients were sent, none was waited for."""
    model, old, new = model_of().eval(), list[str](), list[str]()
    average = GradientAverage(model, 2, noted(old))
    model(images_of()[0]).sum().backward()
    assert old
    average.close()
    old.clear()
    average = GradientAverage(model, 2, noted(new))
    model.zero_grad()
    model(images_of()[0]).sum().backward()
    average.wait()
    assert old == [] and len(new) == len(list(model.parameters()))
