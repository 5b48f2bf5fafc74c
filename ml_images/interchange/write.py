"""One shard of a data set in another format; whatever is there under its name is whole.

tfrecord     <split>/000000.tfrecords
webdataset   <split>/000000.tar
imagefolder  a file for each picture, and labels/<split>/000000.parquet (folders.py)
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from ml_images.hierarchy.ancestors import Ancestors
from ml_images.interchange.folders import LISTING, LISTINGS, file_of, main_class
from ml_images.interchange.inputs import Format
from ml_images.interchange.layouts import Layout, encode_sample, num_lost
from ml_images.interchange.records import framed
from ml_images.interchange.sample import Sample
from ml_images.interchange.tar_writer import TarWriter
from ml_images.interchange.webdataset import write_sample
from ml_images.storage.digested import DigestedStream
from ml_images.storage.paths import join
from ml_images.storage.tables import open_digested_part, whole_file


@dataclass(frozen=True, eq=False)
class Target:
    """What is written, and what it takes to know about the classes."""

    format: Format
    layout: Layout
    ancestors: Ancestors

    @property
    def num_classes(self) -> int:
        return self.ancestors.num_classes


class Done(NamedTuple):
    """What a shard has become. labels_lost: absences that the layout cannot hold; bytes, sha256: of `file`."""

    file: str
    rows: int
    labels: int
    labels_lost: int
    without_class: int
    bytes: int
    sha256: str


def write_shard(groups: Iterable[list[Sample]], folder: str, split: str, number: int, target: Target) -> Done:
    """Write the samples, group by group, below `folder`."""
    if target.format == "tfrecord":
        return _write_records(groups, folder, f"{split}/{number:06d}.tfrecords", target)
    if target.format == "webdataset":
        return _write_tar(groups, folder, f"{split}/{number:06d}.tar")
    return _write_folders(groups, folder, f"{LISTINGS}/{split}/{number:06d}.parquet", split, target)


def _write_records(groups: Iterable[list[Sample]], folder: str, file: str, target: Target) -> Done:
    rows = labels = lost = 0
    with _open_digested(join(folder, file)) as stream:
        for sample in (sample for group in groups for sample in group):
            stream.write(framed(encode_sample(sample, target.layout, target.num_classes)))
            rows, labels = rows + 1, labels + len(sample.classes)
            lost += num_lost(sample, target.layout)
    return Done(file, rows, labels, lost, 0, stream.bytes, stream.sha256)


def _write_tar(groups: Iterable[list[Sample]], folder: str, file: str) -> Done:
    rows = labels = 0
    with _open_digested(join(folder, file)) as stream:
        tar = TarWriter(stream)
        for sample in (sample for group in groups for sample in group):
            write_sample(tar, sample)
            rows, labels = rows + 1, labels + len(sample.classes)
        tar.finish()
    return Done(file, rows, labels, 0, 0, stream.bytes, stream.sha256)


def _write_folders(groups: Iterable[list[Sample]], folder: str, file: str, split: str, target: Target) -> Done:
    rows = labels = without = 0
    with open_digested_part(join(folder, file), LISTING) as (writer, stream):
        for group in groups:
            listed = []
            for sample in group:
                class_ = main_class(sample.classes, sample.confidences, target.ancestors)
                without += class_ is None
                place = file_of(split, sample.key, class_, target.num_classes)
                _write_picture(join(folder, place), sample.image)
                listed.append((place, sample.key, sample.width, sample.height, sample.classes, sample.confidences))
                labels += len(sample.classes)
            rows += len(listed)
            if listed:
                columns = [
                    pa.array(column, type=field.type)
                    for column, field in zip(zip(*listed, strict=True), LISTING, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=LISTING))
    return Done(file, rows, labels, 0, without, stream.bytes, stream.sha256)


def _write_picture(location: str, data: bytes) -> None:
    with whole_file(location) as (filesystem, beside), filesystem.open_output_stream(beside) as stream:
        stream.write(data)


@contextmanager
def _open_digested(location: str) -> Iterator[DigestedStream]:
    with whole_file(location) as (filesystem, beside), filesystem.open_output_stream(beside) as opened:
        yield DigestedStream(opened)
