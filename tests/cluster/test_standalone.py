"""Jobs on a real standalone cluster: two workers, library as a zip, environment packed; one executor is killed."""

import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images import schemas
from ml_images.sample.server import serve
from ml_images.storage import tables

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
NUM_IMAGES = 120
NUM_MEMBERS = 10  # of an archive

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def packed(commands: dict[str, str]) -> Path:
    """The zip and the environment; the latter is kept inside .venv's own folder between runs, by what it is made of."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ml-images" / "packed"
    subprocess.run([CLUSTER / "pack.sh", cache], env=commands, check=True, timeout=300)
    return cache


@pytest.fixture(scope="module")
def master(commands: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("standalone")
    started = subprocess.run(
        [CLUSTER / "standalone.sh", "start", folder, "2"],
        env=commands,
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    yield started.stdout.strip()
    subprocess.run([CLUSTER / "standalone.sh", "stop", folder], env=commands, check=True, timeout=60)


def executors() -> list[int]:
    """Process ids of the executors' JVMs."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        if b"CoarseGrainedExecutorBackend" in words:
            found.append(int(command.parent.name))
    return found


def test_a_download_survives_the_loss_of_an_executor(
    commands: dict[str, str], packed: Path, master: str, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    keys = [f"im_{number}.png" for number in range(NUM_IMAGES)]
    for number, key in enumerate(keys):
        Image.new("RGB", (64, 48), (number * 2, 90, 200)).save(tmp_path / "pictures" / key)
    keys += ["-/fault/silent/im_0.png", "-/fault/missing/im_1.png"]  # the first keeps its task busy for 8 s
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))

    killed: list[int] = []
    written: set[str] = set()  # keys of the parts that were whole when the executor died
    done = threading.Event()

    def kill_one_when_work_is_under_way() -> None:
        staging = tmp_path / "out" / "images" / "_staging"
        while not done.wait(0.1):
            parts = list(staging.glob("part-*.parquet"))
            if len(parts) >= 2 and (running := executors()):
                written.update(key for part in parts for key in pq.read_table(part, columns=["key"])["key"].to_pylist())
                os.kill(running[0], signal.SIGKILL)
                killed.append(running[0])
                return

    killer = threading.Thread(target=kill_one_when_work_is_under_way)
    killer.start()
    with serve(tmp_path / "pictures") as server:
        submit = [
            CLUSTER / "submit.sh",
            master,
            packed,
            ROOT / "jobs" / "download.py",
            ROOT / "conf/smoke/download.yaml",
        ]
        options = ["part.rows=5", "download.in_flight=4", "download.politeness.requests_per_s=30"]
        options += ["download.fetch.attempts=1", "download.fetch.read_timeout_s=8", "download.fetch.deadline_s=8"]
        started = time.monotonic()
        answer = subprocess.run(
            [
                *submit,
                f"labels={tmp_path}/labels",
                f"output={tmp_path}/out",
                f"download.base_url={server.url}",
                *options,
            ],
            env=commands | {"SPARK_SUBMIT_OPTIONS": "--executor-memory 600m --conf spark.executor.cores=1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        done.set()
        killer.join()
        requests = server.requests()
    assert answer.returncode == 0, f"after {time.monotonic() - started:.0f} s:\n{answer.stdout}\n{answer.stderr}"
    assert killed, "no executor was there to kill"
    table = pq.read_table(tmp_path / "out" / "images", columns=["key", "outcome"]).to_pylist()
    assert Counter(row["key"] for row in table) == Counter(keys)
    assert Counter(row["outcome"] for row in table) == {"ok": NUM_IMAGES, "timeout": 1, "not_found": 1}
    # What was written is never fetched again; what the dead executor had fetched and not written yet, once more.
    assert len(written) >= 10
    fetched = {path.lstrip("/"): count for path, count in requests.items() if path != "/robots.txt"}
    assert {fetched[key] for key in written} == {1}
    assert max(fetched.values()) <= 2


def test_archives_are_read_on_both_nodes(commands: dict[str, str], packed: Path, master: str, tmp_path: Path) -> None:
    """And Spark is set up for it: small shuffles wait for no node."""
    (tmp_path / "archives").mkdir()
    keys = ["n1/absent.png"]
    for synset in range(1, 7):
        with tarfile.open(tmp_path / "archives" / f"n{synset}.tar", "w") as archive:
            for number in range(NUM_MEMBERS):
                out = io.BytesIO()
                Image.effect_noise((400, 300), 20 + number).save(out, "PNG")
                member = tarfile.TarInfo(f"im_{number}.png")
                member.size = out.tell()
                archive.addfile(member, io.BytesIO(out.getvalue()))
                keys.append(f"n{synset}/im_{number}.png")
    rows = [{"key": key, "source": "x", "classes": [0], "confidences": [1.0], "origins": [0]} for key in keys]
    tables.write_table(str(tmp_path / "labels"), "labels", pa.Table.from_pylist(rows, schema=schemas.LABELS))
    (tmp_path / "events").mkdir()
    options = f"--executor-memory 600m --conf spark.executor.cores=1 --conf spark.eventLog.enabled=true \
--conf spark.eventLog.dir=file://{tmp_path}/events --conf spark.eventLog.compress=false"
    submit = [CLUSTER / "submit.sh", master, packed, ROOT / "jobs" / "extract.py"]
    given = [f"archives={tmp_path}/archives", f"labels={tmp_path}/labels", f"output={tmp_path}/out"]
    answer = subprocess.run(
        [*submit, *given],
        env=commands | {"SPARK_SUBMIT_OPTIONS": options},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, f"{answer.stdout}\n{answer.stderr}"
    table = pq.read_table(tmp_path / "out" / "images", columns=["key", "outcome"]).to_pylist()
    assert Counter(row["key"] for row in table) == Counter(keys)
    assert Counter(row["outcome"] for row in table) == {"ok": 6 * NUM_MEMBERS, "not_in_archive": 1}

    events = [json.loads(line) for log in (tmp_path / "events").rglob("events_*") for line in log.open()]
    told = next(event for event in events if event["Event"] == "SparkListenerEnvironmentUpdate")
    assert told["Spark Properties"]["spark.shuffle.reduceLocality.enabled"] == "false"
    hosts = {event["Task Info"]["Host"] for event in events if event["Event"] == "SparkListenerTaskEnd"}
    assert hosts == {"127.0.0.1", "127.0.0.2"}
