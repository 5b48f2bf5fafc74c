"""What all tests share: real data where it is there, one Spark session, and the sample chain run once."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# A loaded machine must not turn a slow example into a failure; pytest-timeout bounds the whole test.
hypothesis.settings.register_profile("ml-images", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ml-images")
# For ten minutes at the parser: pytest tests/annotations/test_scanner.py --hypothesis-profile fuzz --timeout 0
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=150_000, derandomize=False)


# Before any JVM starts, whose workers inherit them; and a developer's own keys are never used.
os.environ |= {
    "AWS_ACCESS_KEY_ID": "loopback-key",
    "AWS_SECRET_ACCESS_KEY": "loopback-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
for _name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
    os.environ.pop(_name, None)


def pytest_configure() -> None:
    """Forget compiled loops that are older than any source: numba looks only at the file of the loop itself, not at
    those of the loops that were compiled into it."""
    sources = [path.stat().st_mtime for path in (ROOT / "ml_images").rglob("*.py")]
    kept = list((ROOT / "ml_images").rglob("__pycache__/*.nb[ic]"))
    if any(path.stat().st_mtime < max(sources) for path in kept):
        for path in kept:
            path.unlink(missing_ok=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start engines share one process of `pytest -n 2 --dist loadgroup`: one session, no two clusters."""
    for item in items:
        if {"spark", "chain"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.spark)
        if any(item.get_closest_marker(engine) for engine in ("spark", "horovod", "cluster")):
            item.add_marker(pytest.mark.xdist_group("engines"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real lists, photos and odd images; not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data beside the checkout) is not on this machine")
    return SHARED_DATA


@dataclass
class LoopbackS3:
    """A server that speaks S3 on 127.0.0.1, keeps everything in memory, and answers 403 to other keys than ours."""

    address: str = ""
    requests: list[str] = field(default_factory=list)  # method, path and query
    denies: Callable[[str], bool] = lambda request: False

    def bucket(self) -> str:
        """The location of a new bucket."""
        from pyarrow import fs

        name = f"bucket-{uuid4().hex[:12]}"
        scheme, _, host = self.address.partition("://")
        fs.S3FileSystem(endpoint_override=host, scheme=scheme, allow_bucket_creation=True).create_dir(name)
        self.requests.clear()
        return f"s3+{self.address}/{name}"

    def upload(self, source: Path, location: str) -> str:
        """A file or a folder to a location; `location`."""
        from ml_images.storage.paths import open_location

        filesystem, path = open_location(location)
        # pyarrow.fs.copy_files of pyarrow 14 waits for ever: its copies and their uploads share a pool of threads.
        for file in [source] if source.is_file() else (found for found in source.rglob("*") if found.is_file()):
            target = path if source.is_file() else f"{path}/{file.relative_to(source)}"
            with filesystem.open_output_stream(target) as stream:
                stream.write(file.read_bytes())
        return location

    def answer(self, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append(request)
        is_ours = "Credential=loopback-key/" in environ.get("HTTP_AUTHORIZATION", "")
        if is_ours and not self.denies(request):
            return app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # or it would pass for the next request
        told = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(told)))])
        return [told]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LoopbackS3]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def log(self, *args: object) -> None:
            pass

    told, app = LoopbackS3(), DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, lambda *asked: told.answer(app, *asked), threaded=True, request_handler=Quiet)
    told.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def s3(s3_server: LoopbackS3) -> Iterator[LoopbackS3]:
    """The server, with nothing denied and no request counted."""
    s3_server.requests.clear()
    yield s3_server
    s3_server.denies = lambda request: False


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
