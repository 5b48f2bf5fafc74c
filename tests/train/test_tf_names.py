import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ml_images.errors import InputError
from ml_images.train.preactivation_resnet import PreactivationResNet
from ml_images.train.tf_names import layout, read_npz, to_state_dict, to_variables

CLASSES = 11

# The layout of the released graph, written down from its description: stage, blocks, channels that come in and go out.
STAGES = [(0, 3, 64, 256), (1, 4, 256, 512), (2, 23, 512, 1024), (3, 3, 1024, 2048)]


def published_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"init/init_conv/conv2d/kernel": (7, 7, 3, 64)}

    def batch_norm(name: str, channels: int) -> None:
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}/batch_normalization/{part}"] = (channels,)

    for stage, blocks, first, outputs in STAGES:
        for block in range(blocks):
            scope = f"stages_{stage}_block_{block}"
            inputs, inner = first if block == 0 else outputs, outputs // 4
            if block == 0:
                batch_norm(f"{scope}/conv1_b1_bn", inputs)
                shapes[f"{scope}/conv1_b1/conv2d/kernel"] = (1, 1, inputs, outputs)
            batch_norm(f"{scope}/conv1_b2_bn", inputs)
            shapes[f"{scope}/conv1_b2/conv2d/kernel"] = (1, 1, inputs, inner)
            batch_norm(f"{scope}/conv2_b2_bn", inner)
            shapes[f"{scope}/conv2_b2/conv2d/kernel"] = (3, 3, inner, inner)
            batch_norm(f"{scope}/conv3_b2_bn", inner)
            shapes[f"{scope}/conv3_b2/conv2d/kernel"] = (1, 1, inner, outputs)
    batch_norm("global_pool/bn", 2048)
    shapes["logits/dense/kernel"], shapes["logits/dense/bias"] = (2048, classes), (classes,)
    return shapes


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    """A checkpoint of the right layout: each array a plane of its own, so that no two and no two axes are alike."""
    arrays = {}
    for number, (name, shape) in enumerate(published_shapes(CLASSES).items()):
        arrays[name] = (np.arange(math.prod(shape), dtype=np.float32) + number).reshape(shape)
    return arrays


def test_the_layout_is_the_published_one() -> None:
    assert sorted(pair.theirs for pair in layout()) == sorted(published_shapes(CLASSES))
    trained = {name: shape for name, shape in published_shapes(11_166).items() if "moving_" not in name}
    assert sum(math.prod(shape) for shape in trained.values()) == 65_375_326


def test_every_tensor_of_the_network_has_its_variable(variables: dict[str, np.ndarray]) -> None:
    state = to_state_dict(variables)
    with torch.device("meta"):
        expected = PreactivationResNet(CLASSES).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {n: t.shape for n, t in expected.items()}
    assert {name: tensor.dtype for name, tensor in state.items()} == {n: t.dtype for n, t in expected.items()}


def test_kernels_turn_from_hwio_to_oihw_and_batch_norms_keep_their_parts_apart(
    variables: dict[str, np.ndarray],
) -> None:
    state = to_state_dict(variables)
    kernel, ours = variables["stages_2_block_7/conv2_b2/conv2d/kernel"], state["stages.2.7.conv2.weight"]
    for height, width, inputs, outputs in [(0, 2, 5, 9), (2, 1, 200, 3), (1, 1, 0, 255)]:
        assert ours[outputs, inputs, height, width] == kernel[height, width, inputs, outputs]
    assert state["fc.weight"][4, 1000] == variables["logits/dense/kernel"][1000, 4]
    scope = "stages_1_block_0/conv1_b1_bn/batch_normalization"
    for theirs, ours_name in [
        ("gamma", "weight"),
        ("beta", "bias"),
        ("moving_mean", "running_mean"),
        ("moving_variance", "running_var"),
    ]:
        assert state[f"stages.1.0.shortcut_bn.{ours_name}"].tolist() == variables[f"{scope}/{theirs}"].tolist()


def test_the_way_there_and_back_changes_nothing(variables: dict[str, np.ndarray]) -> None:
    back = to_variables(to_state_dict(variables))
    assert back.keys() == variables.keys()
    assert all(np.array_equal(back[name], variables[name]) for name in variables)


def test_what_only_training_needs_is_left_behind(variables: dict[str, np.ndarray]) -> None:
    extra = {
        "global_step": np.array(7),
        "logits/dense/bias/Momentum": np.zeros(CLASSES, np.float32),
        "Variable": np.zeros(CLASSES, np.float32),
        "Variable_1": np.zeros(CLASSES, np.float32),
    }
    assert to_state_dict({**variables, **extra}).keys() == to_state_dict(variables).keys()


def test_wrong_variables_are_named(variables: dict[str, np.ndarray]) -> None:
    name = "stages_0_block_2/conv3_b2/conv2d/kernel"
    without = {theirs: array for theirs, array in variables.items() if theirs != name}
    with pytest.raises(InputError, match=rf"missing {name}; left over nothing$"):
        to_state_dict(without)
    with pytest.raises(InputError, match=r"missing nothing; left over stages_0_block_3/x$"):
        to_state_dict({**variables, "stages_0_block_3/x": np.zeros(1)})
    with pytest.raises(
        InputError, match=r"missing init/init_conv/conv2d/kernel, stages_0.* and 517 more; left over nothing"
    ):
        to_state_dict({})
    with pytest.raises(InputError, match=rf"{name} \(1, 1, 256, 64\) for \(1, 1, 64, 256\)$"):
        to_state_dict({**variables, name: variables[name].transpose(0, 1, 3, 2)})
    with pytest.raises(InputError, match=rf"{name} int64 for float32$"):
        to_state_dict({**variables, name: variables[name].astype(np.int64)})


def test_arrays_come_from_an_npz_and_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    np.savez(path, **{"a/b": np.arange(3.0)})
    assert {name: array.tolist() for name, array in read_npz(path).items()} == {"a/b": [0, 1, 2]}
    np.savez(path, a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"checkpoint.npz is not an .npz of plain arrays: .*allow_pickle=False"):
        read_npz(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"one.npy is a single array, not an .npz"):
        read_npz(tmp_path / "one.npy")
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"checkpoint.npz is not an .npz of plain arrays"):
        read_npz(path)
    with pytest.raises(InputError, match=r"is not an .npz of plain arrays: .*No such file"):
        read_npz(tmp_path / "missing.npz")
