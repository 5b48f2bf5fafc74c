"""The networks of the scaling model, its fit, and how far it is from what was published."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("scipy")

import scaling
from scaling_model import Network
from scaling_networks import network
from scaling_published import POINTS, SIDES, Fitted, fit, predicted


@pytest.fixture(scope="module")
def networks() -> Mapping[str, Network]:
    return {name: network(name, 1000, side) for name, side in SIDES.items()}


@pytest.fixture(scope="module")
def fitted(networks: Mapping[str, Network]) -> Fitted:
    return fit(POINTS, networks)


@pytest.mark.parametrize(
    ("name", "parameters", "work"),
    [("resnet101", 44_549_160, 7.80e9), ("vgg16", 138_357_544, 15.47e9), ("inception_v3", 23_834_568, 5.71e9)],
)
def test_layers_have_the_parameters_and_the_arithmetic_that_torchvision_tells(
    networks: Mapping[str, Network], name: str, parameters: int, work: float
) -> None:
    assert networks[name].num_bytes == 4 * parameters
    assert sum(layer.work for layer in networks[name].layers) == pytest.approx(work, rel=2e-3)


def test_unknowns_are_found_again_in_what_the_model_itself_says(networks: Mapping[str, Network]) -> None:
    truth = Fitted({"RDMA": 0.7, "TCP": 0.4}, 30e-6, 0.05)
    points = [dataclasses.replace(point, efficiency=predicted(point, networks, truth)) for point in POINTS]
    found = fit(points, networks)
    assert found.used == pytest.approx(truth.used, rel=0.02)
    assert found.hop_s == pytest.approx(truth.hop_s, rel=0.05)
    assert found.contention == pytest.approx(truth.contention, abs=0.005)


def test_published_figures_that_were_not_fitted_are_met_about(networks: Mapping[str, Network], fitted: Fitted) -> None:
    off = {point: abs(predicted(point, networks, fitted) - point.efficiency) for point in POINTS if not point.fitted}
    assert len(off) == 10
    assert sum(off.values()) / len(off) < 0.05
    assert max(off.values()) < 0.13
    assert all(share < 0.07 for point, share in off.items() if point.wire == "RDMA")


def test_gradients_of_half_the_size_and_faster_connections_help(fitted: Fitted) -> None:
    ours = network("resnet101", 11_166, 224)
    gpu = scaling.GPUS[-1]
    found = {
        (gbit, kind): scaling.forecast(ours, gpu, gbit, kind, fitted).efficiency[32]
        for gbit in scaling.GBITS
        for kind in ("none", "fp16")
    }
    assert found[25, "none"] < found[100, "none"] < found[400, "none"]
    assert all(found[gbit, "none"] < found[gbit, "fp16"] for gbit in (25, 100))  # at 400 bytes hardly count


def test_the_report_names_what_was_fitted_and_what_was_checked(tmp_path: Path) -> None:
    assert scaling.main(["--results", str(tmp_path)]) == 0
    (report,) = tmp_path.glob("*.md")
    text = report.read_text()
    assert text.count("| fitted |") == 7
    assert text.count("| checked |") == 10
    assert "vgg16 on 64 GPUs, TCP at 40 Gbit/s" in text  # the worst
    assert text.count("| H100") == 14
    assert len(json.loads(report.with_suffix(".json").read_text())["points"]) == len(POINTS)
    assert report.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
