"""A job on a real standalone cluster: two workers, library as a zip, environment packed. For download, and what is
killed there, see test_soak.py."""

import io
import json
import os
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ml_images import schemas
from ml_images.storage import tables

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
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
