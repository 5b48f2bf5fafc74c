"""What reading says before step one that it takes at most, against what it takes, and against every order of rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_builder import jpeg, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images import schemas
from ml_images.storage import tables
from ml_images.train.order import EpochOrder
from ml_images.train.plan import Stretch
from ml_images.train.reader import most_held
from ml_images.train.reading_memory import most_held_ever

NUM_CLASSES, GROUPS, ROWS = 20_000, 12, 12
PROBE = Path(__file__).with_name("memory_probe.py")


def of_many_bytes(root: Path, picture_bytes: int, num_labels: int, *, as_written: bool = True, **options: Any) -> Path:
    """144 rows in 12 row groups for 4 lanes, whose small pictures are made long by comments that decoders pass over."""
    write_dataset(root, train=(1,) * GROUPS, val=(1,), files=3, num_classes=NUM_CLASSES, lanes=4, **options)
    random = np.random.default_rng(0)
    for number, part in enumerate(sorted((root / "split=train").glob("*.parquet"))):
        rows = [row(random, f"{number:02d}-{i:04d}", picture_bytes, num_labels) for i in range(GROUPS * ROWS // 3)]
        table = pa.Table.from_pylist(rows, schemas.DATASET)
        if as_written:
            with tables.open_part(str(part), schemas.DATASET) as writer:
                writer.write_table(table, row_group_size=ROWS)
        else:
            pq.write_table(table, part, row_group_size=ROWS)
    manifest = json.loads((root / "_manifest.json").read_text())
    manifest["splits"]["train"] = {"rows": GROUPS * ROWS, "row_groups": GROUPS}
    (root / "_manifest.json").write_text(json.dumps(manifest))
    return root


def row(random: np.random.Generator, key: str, picture_bytes: int, num_labels: int) -> dict[str, object]:
    picture = jpeg((90, 120, 50))
    comments = b""
    while len(picture) + len(comments) < picture_bytes:
        text = random.bytes(min(60_000, picture_bytes))
        comments += b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    return {
        "key": f"https://photos.example/{key}.jpg",
        "image": picture[:2] + comments + picture[2:],
        "width": 64,
        "height": 48,
        "classes": np.sort(random.choice(NUM_CLASSES, num_labels, replace=False)),
        "confidences": random.choice([1.0, 0.5], num_labels),
        "replication": 1.0 + random.integers(0, 3) / 2,
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Large pictures; thousands of labels a row, which need more."""
    folder = tmp_path_factory.mktemp("data")
    return [of_many_bytes(folder / "pictures", 60_000, 5), of_many_bytes(folder / "labels", 3_000, 10_000)]


@pytest.fixture(scope="module")
def of_others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pyarrow writes it when it is not told how; rows come several times."""
    root = tmp_path_factory.mktemp("data") / "others"
    return of_many_bytes(root, 60_000, 500, as_written=False, factors=[1.5])


def probed(reader: str, *locations: Path | str) -> None:
    words = [sys.executable, str(PROBE), reader, *map(str, locations)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        seen = json.loads(line)
        print(reader, line)
        assert len(set(seen["read"])) == 1 and seen["read"][0] > 50
        took = seen["arrow"] + seen["python"] + seen["buffers"]
        assert took <= seen["told"]
        assert seen["told"] < 4 * took
    assert len(done.stdout.splitlines()) == len(locations)


def test_reading_takes_no_more_than_was_told(folders: list[Path], of_others: Path) -> None:
    probed("arrow", folders[0], of_others, folders[1])


def test_petastorm_takes_no_more_than_was_told(folders: list[Path]) -> None:
    probed("petastorm", *folders)


@pytest.mark.parametrize("reader", ["arrow", "petastorm"])
def test_memory_is_flat_over_fifty_epochs_of_real_files(folders: list[Path], reader: str) -> None:
    """A picture that is kept in each epoch would be 2.4 MB in the end, a row group some 20."""
    program = """
import sys
from ml_images.train.data import DataConfig, TrainingReader
from ml_images.train.dataset import read_split
reader, location = sys.argv[1:]
split = read_split(location, "train")
config = DataConfig(path=location, reader=reader, batch_size=6, image_size=32)
batches = TrainingReader(split, config, seed=3, data_set="", rows=split.rows)
for _ in range(50):
    for _ in batches.batches():
        pass
    print(int(open("/proc/self/statm").read().split()[1]) * 4096)
    batches.next_epoch()
"""
    words = [sys.executable, "-c", program, reader, str(folders[0])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    resident = list(map(int, done.stdout.split()))
    assert len(resident) == 50
    assert max(resident[25:]) - max(resident[:25]) < 4e6, resident


def test_reading_from_s3_takes_no_more_than_was_told(folders: list[Path], s3: Any) -> None:
    probed("arrow", *(s3.upload(folder, f"{s3.bucket()}/set") for folder in folders))


@settings(max_examples=200)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=14),
    st.integers(1, 12),
    st.integers(1, 20),
    st.integers(1, 9),
    st.integers(0, 5),
    st.data(),
)
def test_no_rank_ever_holds_more_row_groups_than_was_told(
    rows: list[int], lanes: int, batch_size: int, size: int, seed: int, data: st.DataObject
) -> None:
    told = most_held_ever(np.array(rows), lanes, batch_size, size)
    order = EpochOrder(np.array(rows, np.int64), lanes, seed)
    start = data.draw(st.integers(0, order.total))
    stretch = Stretch(data.draw(st.integers(0, size - 1)), size, batch_size, start, 0)
    stretch = Stretch(stretch.rank, size, batch_size, start, -(-(order.total - start) // (batch_size * size)))
    pieces = order.pieces(stretch.rank, size, start, order.total)
    assert min(len(rows), most_held(pieces, lanes, stretch)) <= told


def test_row_groups_that_are_told_known_answer() -> None:
    even = np.full(100, 256)
    assert most_held_ever(even, 8, 64, 1) == 16  # two of each of eight lanes
    assert most_held_ever(even, 8, 64, 8) == 2
    assert most_held_ever(even, 8, 64, 3) == 16
    assert most_held_ever(np.full(100, 4), 1, 8, 1) == 5  # 16 rows: 3 whole ones and two at the ends
    assert most_held_ever(np.array([1, 1, 1, 50, 50]), 1, 8, 1) == 5
    assert most_held_ever(np.array([9]), 8, 64, 8) == 1
