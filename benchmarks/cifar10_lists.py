"""CIFAR-10 as what the chain starts from: lists with Tencent's labels, the classes these need, an archive of JPEGs.

The data is a Parquet file with the columns key ("cat/0042.jpg"), wnid and jpeg. Pictures keep their bytes. The last
1,000 of each class are for validation. As in the published sample of 100 rows (specs 1.3), 65 of 100 rows do not vouch
for their label: its confidence is 0.9, and the released rule then adds the direct parent only. These rows stay open.
"""

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml_images.hierarchy.parse import parse_hierarchy
from ml_images.hierarchy.vocabulary import Vocabulary

VALIDATION = 1_000  # pictures of each class
OPEN_PERCENT, UNSURE = 65, 0.9


@dataclass(frozen=True)
class Files:
    """What `write_files` makes in its folder."""

    folder: Path

    @property
    def vocabulary(self) -> Path:
        return self.folder / "vocabulary.txt"

    @property
    def train(self) -> Path:
        return self.folder / "train.txt"

    @property
    def val(self) -> Path:
        return self.folder / "val.txt"

    @property
    def val_keys(self) -> Path:
        return self.folder / "val_keys.txt"

    @property
    def archive(self) -> Path:
        return self.folder / "cifar10.tar"


def write_files(parquet: Path, vocabulary: Path, folder: Path) -> Files:
    """Lists, classes and archive out of the Parquet file and the whole vocabulary."""
    files = Files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(parquet, columns=["key", "wnid", "jpeg"])
    keys, wnids = table["key"].to_pylist(), table["wnid"].to_pylist()
    kept = cut_vocabulary(parse_hierarchy(vocabulary.read_bytes(), str(vocabulary)), set(wnids))
    files.vocabulary.write_text(to_text(kept))
    class_of = {wnid: class_ for class_, wnid in enumerate(kept.ids)}
    is_val = held_out(wnids, VALIDATION)
    rows = [(key, list_line(key, class_of[wnid]), val) for key, wnid, val in zip(keys, wnids, is_val, strict=True)]
    files.train.write_text("".join(line for _, line, val in rows if not val))
    files.val.write_text("".join(line for _, line, val in rows if val))
    files.val_keys.write_text("".join(f"{key}\n" for key, _, val in rows if val))
    _write_archive(files.archive, keys, table["jpeg"])
    return files


def cut_vocabulary(vocabulary: Vocabulary, ids: Collection[str]) -> Vocabulary:
    """The classes `ids` and all above them, in the order in which they are: leaves are then leaves of the data."""
    wanted = {class_ for class_, id in enumerate(vocabulary.ids) if id in ids}
    waiting = list(wanted)
    while waiting:
        for parent in vocabulary.parents[waiting.pop()]:
            if parent not in wanted:
                wanted.add(parent)
                waiting.append(parent)
    kept = sorted(wanted)
    number = {class_: new for new, class_ in enumerate(kept)}
    return Vocabulary(
        tuple(vocabulary.ids[class_] for class_ in kept),
        tuple(vocabulary.names[class_] for class_ in kept),
        tuple(tuple(number[parent] for parent in vocabulary.parents[class_]) for class_ in kept),
    )


def to_text(vocabulary: Vocabulary) -> str:
    """In the published form: index, id, parents, names."""
    lines = zip(vocabulary.ids, vocabulary.parents, vocabulary.names, strict=True)
    return "".join(
        f"{class_}\t{id}\t{','.join(map(str, parents)) or -1}\t{', '.join(names)}\n"
        for class_, (id, parents, names) in enumerate(lines)
    )


def held_out(wnids: Sequence[str], count: int) -> list[bool]:
    """Whether each row is one of the last `count` of its class."""
    left = Counter(wnids)
    result = []
    for wnid in wnids:
        result.append(left[wnid] <= count)
        left[wnid] -= 1
    return result


def list_line(key: str, class_: int) -> str:
    """A line of an annotation list."""
    return f"{key}\t{class_}:{UNSURE if is_open(key) else 1}\n"


def is_open(key: str) -> bool:
    """Is `key` one of the OPEN_PERCENT that do not vouch for their label?"""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") % 100 < OPEN_PERCENT


def _write_archive(path: Path, keys: Sequence[str], jpegs: pa.ChunkedArray) -> None:
    with tarfile.open(path, "w") as archive:
        for key, jpeg in zip(keys, jpegs, strict=True):
            member = tarfile.TarInfo(key)
            member.size = len(jpeg.as_py())
            archive.addfile(member, io.BytesIO(jpeg.as_py()))
