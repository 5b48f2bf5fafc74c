"""The governor of a job: it serves where executors reach the driver."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import SparkSession

from ml_images.download.config import PolitenessConfig
from ml_images.download.governor import Governor


@dataclass(frozen=True)
class Contact:
    """What a worker needs to talk to the governor (governed.GovernedGate)."""

    address: tuple[str, int]
    secret: str


@contextmanager
def governing(spark: SparkSession, cfg: PolitenessConfig) -> Iterator[tuple[Governor, Contact]]:
    """A governor in the driver while the block runs."""
    settings = spark.sparkContext.getConf()
    host = str(settings.get("spark.driver.host"))  # as executors know it
    # Where the driver listens to its executors, too: loopback in a local session.
    with Governor(cfg, settings.get("spark.driver.bindAddress") or host) as governor:
        yield governor, Contact((host, governor.address[1]), governor.secret)
