"""How training goes on with 32 to 512 GPUs, as a model says that is checked against Horovod's published figures.

    python benchmarks/scaling.py

A few seconds. The report goes to benchmarks/results/scaling-DATE.md, .json and .png. The model is in scaling_model.py,
the published figures in scaling_published.py.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from measurements import ROOT
from scaling_model import BACKWARD, Layer, Network, efficiency, loader_cores, sum_s
from scaling_networks import network
from scaling_published import BATCH, POINTS, SIDES, Fitted, Point, fit, predicted

RANKS = (32, 64, 128, 256, 512)
READING_CPU_S = 0.00108  # a picture of short side 384, all that reading does: benchmarks/results/readers-2026-11-22.md
PICTURE_BYTES = 60_000  # the same pictures
OURS, CLASSES = "resnet101", 11_166

_METHOD = """A step is forward and backward of one GPU, longer by the contention of sending beside them, and what is \
left to send when backward ends: gradients of each layer as backward reaches it, joined up to 64 MiB, summed by a ring \
of 2 (N - 1) hops, as NCCL did then. Layers' arithmetic and bytes are those of the networks. Four unknowns are fitted \
by least squares to {fitted} published efficiencies; the other {checked} check them: off by {mean:.1f} points on \
average, {most:.1f} at most ({worst}). Fitted: a ring gets {rdma:.0%} of the rate by RDMA and {tcp:.0%} by TCP, a hop \
takes {hop:.0f} us, contention {contention:.1%}."""

_FORECAST = """ResNet-101 with {classes:,} outputs ({megabytes:.0f} MB of fp32 gradients, of which a GPU sends and \
receives twice as much a step), {batch} pictures a GPU, RDMA; 8 GPUs a server share its connection. Sums go by trees, \
as NCCL has had them since 2.4, with the bandwidth, hops and contention that were fitted; the last column is for a \
ring. No published figure has checked the trees, so the truth lies between the two. Images/s of one GPU: measured on \
one H100 (torch 2.11, `engine.precision`, `engine.channels_last`, synthetic pictures; fp32 lets convolutions use TF32, \
as torch does). fp16: `engine.compression=fp16`. Loader cores: at {cpu:.2f} CPU ms a picture of short side 384 \
(benchmarks/readers.py); reading brings {picture:.0f} KB a picture into a server. Nothing of this with several GPUs \
has been run."""


@dataclass(frozen=True)
class Gpu:
    """What one does alone; measured with `batch` pictures of 224 pixels, ResNet-101, 11,166 outputs."""

    name: str
    images_per_s: float
    batch: int


@dataclass(frozen=True)
class Forecast:
    gpu: Gpu
    gbit: float
    compression: str
    efficiency: Mapping[int, float]  # by GPUs
    by_ring: float  # on the most GPUs


GPUS = (Gpu("H100, fp32", 1170, 128), Gpu("H100, bf16, channels-last", 2453, 128))
GBITS = (25, 100, 400)


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    networks = {name: network(name, 1000, side) for name, side in SIDES.items()}
    fitted = fit(POINTS, networks)
    ours = network(OURS, CLASSES, 224)
    forecasts = [
        forecast(ours, gpu, gbit, compression, fitted)
        for gpu in GPUS
        for gbit in GBITS
        for compression in ("none", "fp16")
    ]
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    args.results.mkdir(parents=True, exist_ok=True)
    place = args.results / f"scaling-{day}"
    text = _to_markdown(networks, fitted, ours, forecasts, day)
    place.with_suffix(".md").write_text(text)
    place.with_suffix(".json").write_text(json.dumps(_to_json(networks, fitted, forecasts, day), indent=1) + "\n")
    _figure(networks, fitted, forecasts).savefig(place.with_suffix(".png"), dpi=110, metadata={"Software": None})
    print(text)
    return 0


def forecast(net: Network, gpu: Gpu, gbit: float, compression: str, fitted: Fitted) -> Forecast:
    sent = halved(net) if compression == "fp16" else net
    alone_s, ring = gpu.batch / gpu.images_per_s, fitted.link("RDMA", gbit)
    tree = replace(ring, tree=True)
    shares = {ranks: efficiency(sent, alone_s, ranks, tree, fitted.contention) for ranks in RANKS}
    by_ring = efficiency(sent, alone_s, RANKS[-1], ring, fitted.contention)
    return Forecast(gpu, gbit, compression, shares, by_ring)


def halved(net: Network) -> Network:
    """`net` with gradients of 16 bits on their way."""
    return replace(net, layers=tuple(Layer(layer.work, layer.num_bytes // 2) for layer in net.layers))


def _off(point: Point, networks: Mapping[str, Network], fitted: Fitted) -> float:
    """Points of per cent."""
    return 100 * (predicted(point, networks, fitted) - point.efficiency)


def _to_markdown(
    networks: Mapping[str, Network], fitted: Fitted, ours: Network, forecasts: Sequence[Forecast], day: str
) -> str:
    checks = [point for point in POINTS if not point.fitted]
    worst = max(checks, key=lambda point: abs(_off(point, networks, fitted)))
    told = _METHOD.format(
        fitted=len(POINTS) - len(checks),
        checked=len(checks),
        mean=sum(abs(_off(point, networks, fitted)) for point in checks) / len(checks),
        most=abs(_off(worst, networks, fitted)),
        worst=f"{worst.network} on {worst.ranks} GPUs, {worst.wire} at {worst.gbit:.0f} Gbit/s",
        rdma=fitted.used["RDMA"],
        tcp=fitted.used["TCP"],
        hop=fitted.hop_s * 1e6,
        contention=fitted.contention,
    )
    rows = [_check_row(point, networks, fitted) for point in POINTS]
    head = ("network", "GPUs", "wire", "sum of all gradients, ms", "backward, ms", "published", "model", "off", "")
    later = _FORECAST.format(
        classes=CLASSES,
        megabytes=ours.num_bytes / 1e6,
        batch=GPUS[0].batch,
        cpu=READING_CPU_S * 1e3,
        picture=PICTURE_BYTES / 1e3,
    )
    wide = (
        "GPU",
        "Gbit/s a server",
        "gradients",
        *(f"{ranks} GPUs" for ranks in RANKS),
        "images/s on 512",
        "512, by ring",
    )
    parts = [f"# Scaling model, {day}", told, f"![efficiency](scaling-{day}.png)"]
    parts += ["## Beside the published figures", _table(head, rows)]
    parts += ["## Forecast for this project", later, _table(wide, [_forecast_row(each) for each in forecasts])]
    parts.append(_table(("GPU", "images/s", "loader cores a GPU", "MB/s of pictures a GPU"), [*map(_load_row, GPUS)]))
    return "\n\n".join(parts) + "\n"


def _check_row(point: Point, networks: Mapping[str, Network], fitted: Fitted) -> tuple[str, ...]:
    link, net = fitted.link(point.wire, point.gbit), networks[point.network]
    return (
        point.network,
        str(point.ranks),
        f"{point.wire}, {point.gbit:.0f} Gbit/s",
        f"{1e3 * sum_s(net.num_bytes, point.ranks, link):.0f}",
        f"{1e3 * BATCH / point.alone * BACKWARD:.0f}",
        f"{point.efficiency:.1%}",
        f"{predicted(point, networks, fitted):.1%}",
        f"{_off(point, networks, fitted):+.1f}",
        "fitted" if point.fitted else "checked",
    )


def _forecast_row(each: Forecast) -> tuple[str, ...]:
    last = RANKS[-1]
    images_per_s = each.efficiency[last] * last * each.gpu.images_per_s
    shares = (f"{each.efficiency[ranks]:.0%}" for ranks in RANKS)
    kind = "fp16" if each.compression == "fp16" else "fp32"
    return (each.gpu.name, f"{each.gbit:.0f}", kind, *shares, f"{images_per_s:,.0f}", f"{each.by_ring:.0%}")


def _load_row(gpu: Gpu) -> tuple[str, ...]:
    cores = loader_cores(gpu.images_per_s, READING_CPU_S)
    return (gpu.name, f"{gpu.images_per_s:,.0f}", f"{cores:.1f}", f"{gpu.images_per_s * PICTURE_BYTES / 1e6:.0f}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _to_json(
    networks: Mapping[str, Network], fitted: Fitted, forecasts: Sequence[Forecast], day: str
) -> dict[str, Any]:
    points = [asdict(point) | {"model": predicted(point, networks, fitted)} for point in POINTS]
    return {"day": day, "fitted": asdict(fitted), "points": points, "forecasts": list(map(asdict, forecasts))}


def _figure(networks: Mapping[str, Network], fitted: Fitted, forecasts: Sequence[Forecast]) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for colour, name in zip(("C0", "C1", "C2"), networks, strict=True):
        points = [point for point in POINTS if (point.network, point.wire) == (name, "RDMA")]
        ranks = [4 * 2 ** (step / 4) for step in range(29)]
        shares = [predicted(replace(points[0], ranks=round(each)), networks, fitted) for each in ranks]
        left.plot(ranks, shares, colour, label=name)
        for point in points:
            left.plot(point.ranks, point.efficiency, colour, marker="o" if point.fitted else "D", ls="none")
    left.set_title("Pascal, 4 a server, 25 Gbit/s RDMA\ndots: published; diamonds: not fitted", fontsize=10)
    for each in forecasts:
        if each.gpu is GPUS[-1]:
            style = "-" if each.compression == "none" else "--"
            label = f"{each.gbit:.0f} Gbit/s, {'fp32' if each.compression == 'none' else 'fp16'} gradients"
            right.plot(RANKS, [each.efficiency[count] for count in RANKS], f"C{GBITS.index(int(each.gbit))}{style}")
            right.lines[-1].set_label(label)
    right.set_title(f"Forecast: {GPUS[-1].name}, 8 a server\n{OURS}, {CLASSES:,} outputs", fontsize=10)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("GPUs")
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
    left.set_ylabel("images/s of N times one GPU")
    left.legend(fontsize=8)
    right.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0.7))
    return figure


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    told = "where the report goes (default %(default)s)"
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help=told)
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
