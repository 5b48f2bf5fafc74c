"""What all tests share: real data where it is there, one Spark session, and the sample chain run once."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# A loaded machine must not turn a slow example into a failure; pytest-timeout bounds the whole test.
hypothesis.settings.register_profile("ml-images", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ml-images")
# For ten minutes at the parser: pytest tests/annotations/test_scanner.py --hypothesis-profile fuzz
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=150_000)


def pytest_configure() -> None:
    """Forget compiled loops that are older than any source: numba looks only at the file of the loop itself, not at
    those of the loops that were compiled into it."""
    sources = [path.stat().st_mtime for path in (ROOT / "ml_images").rglob("*.py")]
    kept = list((ROOT / "ml_images").rglob("__pycache__/*.nb[ic]"))
    if any(path.stat().st_mtime < max(sources) for path in kept):
        for path in kept:
            path.unlink(missing_ok=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"spark", "chain"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real lists, photos and odd images; not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data beside the checkout) is not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def commands() -> dict[str, str]:
    """The environment in which spark-submit, horovodrun and ml-images of this Python are first on PATH."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["SPARK_CONF_DIR"] = str(ROOT / "cluster" / "conf")
    environment["SPARK_LOCAL_IP"] = "127.0.0.1"
    environment["PYTHONWARNINGS"] = "ignore::FutureWarning"
    return environment


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The one Spark session of the test run, made for tiny data."""
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from ml_images.spark import session

    options = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        "spark.sql.ansi.enabled": "true",
        "spark.task.maxFailures": "1",
    }
    with session.opened("tests", options) as opened:
        yield opened


@dataclass(frozen=True)
class Chain:
    """The sample world and what the jobs made of it."""

    world: Path
    url: str
    requests: dict[str, int]  # how often the server was asked for each path during the download
    annotate: Path
    download: Path
    materialize: Path

    @property
    def download_argv(self) -> list[str]:
        return download_argv(self.annotate, self.download, self.url)


def download_argv(annotate: Path, output: Path, url: str) -> list[str]:
    return [
        str(ROOT / "conf/smoke/download.yaml"),
        f"labels={annotate / 'labels'}",
        f"output={output}",
        f"download.base_url={url}",
        "download.fetch.read_timeout_s=1",
        "download.fetch.deadline_s=2",
        "download.fetch.backoff_s=0.1",
    ]


@pytest.fixture(scope="session")
def chain(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """annotate, download and materialize over a small sample world, whose server stays up."""
    from ml_images.jobs import annotate, download, materialize
    from ml_images.sample.server import serve
    from ml_images.sample.world import write

    folder = tmp_path_factory.mktemp("chain")
    world = folder / "world"
    (world / "pictures").mkdir(parents=True)
    with serve(world / "pictures") as server:
        write(world, 7, server.url, 96)
        made = {name: folder / name for name in ("annotate", "download", "materialize")}
        lists = f"lists=[{world}/lists/*.txt]"
        argv = [lists, f"vocabulary={world / 'vocabulary.txt'}", f"output={made['annotate']}"]
        assert annotate.main([*argv, "max_loss=0.2"]) == 0
        assert download.main(download_argv(made["annotate"], made["download"], server.url)) == 0
        arguments = [f"annotations={made['annotate']}", f"images={made['download']}/images", "splits.val=0.3"]
        assert materialize.main([*arguments, f"output={made['materialize']}", "layout.ranks=4"]) == 0
        yield Chain(world, server.url, server.requests(), **made)
