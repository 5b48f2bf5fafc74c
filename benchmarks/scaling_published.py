"""What Horovod's authors measured, and the model's four unknowns fitted to a part of it.

All with tf_cnn_benchmarks, synthetic pictures, fp32, 64 pictures a GPU, four Pascal GPUs a server, NCCL. Sources: the
tables in Horovod's README of September 2017 (github.com/horovod/horovod, pull requests 19 and 44), its README since
2018 (512 GPUs) and October 2017 (128 GPUs), and Sergeev and Del Balso 2018, arXiv 1802.05799, section 8 (TCP on 128).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling_model import Link, Network, efficiency
from scipy.optimize import least_squares

BATCH = 64
GBIT = 1e9 / 8  # bytes


@dataclass(frozen=True)
class Point:
    network: str
    ranks: int
    wire: str  # RDMA or TCP
    gbit: float  # of a server's connection
    alone: float  # images/s of one GPU
    efficiency: float
    fitted: bool = False  # the unknowns come from these; the others check them


@dataclass(frozen=True)
class Fitted:
    used: Mapping[str, float]  # share of the connection's rate that the ring gets, by wire
    hop_s: float
    contention: float

    def link(self, wire: str, gbit: float) -> Link:
        return Link(self.used[wire] * gbit * GBIT, self.hop_s)


_ALONE_25 = {"inception_v3": 134.4, "resnet101": 119.4, "vgg16": 130.9}  # servers with 25 Gbit/s
_ALONE_40 = {"inception_v3": 148.8, "resnet101": 136.0, "vgg16": 149.6}
SIDES = {"inception_v3": 299, "resnet101": 224, "vgg16": 224}


def _of_total(network: str, ranks: int, wire: str, gbit: float, images_per_s: float, fitted: bool) -> Point:
    alone = (_ALONE_25 if gbit == 25 else _ALONE_40)[network]
    return Point(network, ranks, wire, gbit, alone, images_per_s / ranks / alone, fitted)


def _of_share(network: str, ranks: int, wire: str, share: float, fitted: bool = False) -> Point:
    return Point(network, ranks, wire, 25, _ALONE_25[network], share, fitted)


POINTS = (
    _of_total("inception_v3", 16, "RDMA", 25, 2022.6, fitted=True),
    _of_total("resnet101", 16, "RDMA", 25, 1746.2, fitted=True),
    _of_total("vgg16", 16, "RDMA", 25, 1787.4, fitted=True),
    _of_total("inception_v3", 16, "TCP", 25, 1990.7, fitted=True),
    _of_total("resnet101", 16, "TCP", 25, 1685.1, fitted=True),
    _of_total("vgg16", 16, "TCP", 25, 1308.7, fitted=True),
    _of_share("vgg16", 128, "RDMA", 0.79, fitted=True),
    _of_total("inception_v3", 64, "TCP", 40, 7932.1, fitted=False),
    _of_total("resnet101", 64, "TCP", 40, 7741.6, fitted=False),
    _of_total("vgg16", 64, "TCP", 40, 6084.2, fitted=False),
    _of_share("inception_v3", 128, "TCP", 0.88),
    _of_share("resnet101", 128, "TCP", 0.88),
    _of_share("inception_v3", 128, "RDMA", 0.90),
    _of_share("resnet101", 128, "RDMA", 0.90),
    _of_share("inception_v3", 512, "RDMA", 0.90),
    _of_share("resnet101", 512, "RDMA", 0.90),
    _of_share("vgg16", 512, "RDMA", 0.68),
)


def predicted(point: Point, networks: Mapping[str, Network], fitted: Fitted) -> float:
    link = fitted.link(point.wire, point.gbit)
    return efficiency(networks[point.network], BATCH / point.alone, point.ranks, link, fitted.contention)


def fit(points: Sequence[Point], networks: Mapping[str, Network]) -> Fitted:
    """The unknowns with the least squares of differences of efficiency over the points that are there to be fitted."""
    chosen = [point for point in points if point.fitted]

    def off(unknowns: Sequence[float]) -> list[float]:
        tried = _fitted(unknowns)
        return [predicted(point, networks, tried) - point.efficiency for point in chosen]

    start, least, most = (0.8, 0.5, 1.0, 5.0), (0.1, 0.1, 0.0, 0.0), (1.0, 1.0, 20.0, 20.0)
    # Steps of 1e-3: a sum that is sent a little later may take another layer along, so the model has small jumps.
    return _fitted(least_squares(off, start, bounds=(least, most), diff_step=1e-3).x)


def _fitted(unknowns: Sequence[float]) -> Fitted:
    """Out of numbers of about one: shares of the rate, hops in units of 10 microseconds, contention in per cent."""
    rdma, tcp, hop, contention = map(float, unknowns)
    return Fitted({"RDMA": rdma, "TCP": tcp}, hop * 1e-5, contention / 100)
