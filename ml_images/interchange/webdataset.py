"""A sample as members of a WebDataset tar, and back: `<safe key>.jpg` and `<safe key>.json` behind it.

    {"key": ..., "classes": [...], "confidences": [...], "width": ..., "height": ...}

Read are tars of others, too: members that follow one another and have the same name up to the first dot of its last
component are one sample (WebDataset's rule); `.cls` is a class. A key that no JSON tells is that name. Of pictures with
different endings (a photo and its mask) the first counts; two members with one ending are refused, as WebDataset does.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ml_images.archives.damage import Damaged
from ml_images.archives.names import danger_of
from ml_images.archives.read import Member
from ml_images.archives.stream import Stream
from ml_images.archives.tar import walk
from ml_images.errors import InputError
from ml_images.interchange.safe_names import safe_name
from ml_images.interchange.sample import Classes, Confidences, Found, Sample, check_classes, checked_labels, shown
from ml_images.interchange.tar_writer import TarWriter

PICTURES = frozenset(("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"))

_LABELS = frozenset(("json", "cls"))

_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)  # WebDataset passes over what has no such name
_MAX_JSON = 16 << 20  # bytes; 11,166 labels take 0.2 MB
_MAX_CLS = 20  # digits and a line feed

_Labels = tuple[Classes, Confidences]


def write_sample(tar: TarWriter, sample: Sample) -> None:
    """Add the two members of a sample."""
    name = safe_name(sample.key)
    told = {
        "key": sample.key,
        "classes": sample.classes.tolist(),
        "confidences": [float(str(value)) for value in sample.confidences],  # 0.9, not 0.8999999761581421
        "width": sample.width,
        "height": sample.height,
    }
    tar.add(f"{name}.jpg", sample.image)
    tar.add(f"{name}.json", json.dumps(told, ensure_ascii=False).encode())


@dataclass
class _Group:
    """The members of one sample so far."""

    name: str
    key: str | None = None
    picture: Member | None = None  # its key is not yet known
    labels: _Labels | None = field(default=None)
    endings: set[str] = field(default_factory=set)  # of its members that are read

    def found(self, source: str) -> Found:
        key = self.name if self.key is None else self.key
        if self.picture is None:
            place = f"{source}:{self.name}"
            return Found(Member(key, place, None, "not_in_archive", "the sample has no picture"), self.labels)
        picture = self.picture
        return Found(Member(key, picture.member, picture.data, picture.outcome, picture.detail), self.labels)


def read_samples(stream: Stream, source: str, max_bytes: int, num_classes: int | None) -> Iterator[Found]:
    """The samples of a tar that `source` names. max_bytes: of a picture; num_classes: of the vocabulary, if any.

    Raises InputError where the tar is damaged or cut off, or labels are none, naming source and byte or member.
    """
    group: _Group | None = None
    try:
        for entry in walk(stream):
            parts = _NAME.fullmatch(entry.name)
            if entry.special == "directory" or parts is None:
                continue
            name, ending = parts[1].removeprefix("./"), parts[2].lower()
            if group is None or group.name != name:
                if group is not None and _is_sample(group):
                    yield group.found(source)
                group = _Group(name)
            place = f"{source}:{entry.name}"
            if ending in group.endings:
                raise InputError(f"'{shown(place)}': the sample has two members that end with .{ending}")
            if ending in PICTURES or ending in _LABELS:
                group.endings.add(ending)
            if ending in PICTURES and group.picture is None:
                group.picture = _read_picture(stream, entry.name, entry.special, entry.size, place, max_bytes)
            elif ending in _LABELS and entry.special is None:
                take = _take_json if ending == "json" else _take_class
                data = _read_whole(stream, entry.size, _MAX_JSON if ending == "json" else _MAX_CLS, place)
                _take(take, group, data, place, num_classes)
        if group is not None and _is_sample(group):
            yield group.found(source)
    except Damaged as damage:
        raise InputError(f"'{source}' at byte {stream.position}: {damage.detail} ({damage.kind})") from damage


def _is_sample(group: _Group) -> bool:
    """A group of other files only (a licence, a table) is none."""
    return group.picture is not None or group.labels is not None


def _read_picture(stream: Stream, name: str, special: str | None, size: int, place: str, max_bytes: int) -> Member:
    danger = special or danger_of(name)
    if danger:
        return Member("", place, None, "unsafe_member", danger)
    if size > max_bytes:
        return Member("", place, None, "too_large", f"{size} bytes, max_bytes is {max_bytes}")
    data = stream.read(size)
    if len(data) < size:
        raise Damaged("truncated", f"{len(data)} of {size} bytes of {shown(name)} are there")
    return Member("", place, data)


def _read_whole(stream: Stream, size: int, most: int, place: str) -> bytes:
    if size > most:
        raise InputError(f"'{shown(place)}' has {size} bytes, at most {most} are read")
    data = stream.read(size)
    if len(data) < size:
        raise Damaged("truncated", f"{len(data)} of {size} bytes of {shown(place)} are there")
    return data


def _take(
    take: Callable[[_Group, bytes, int | None], None], group: _Group, data: bytes, place: str, num_classes: int | None
) -> None:
    try:
        take(group, data, num_classes)
    except (ValueError, OverflowError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"'{shown(place)}': {told}") from error


def _take_json(group: _Group, data: bytes, num_classes: int | None) -> None:
    told = json.loads(data)
    if not isinstance(told, dict):
        return
    key = told.get("key")
    if isinstance(key, str) and key:
        key.encode()  # ValueError for half of a surrogate pair
        group.key = key
    if "classes" in told:
        classes, confidences = told["classes"], told.get("confidences")
        if not isinstance(classes, list) or not all(type(number) is int for number in classes):
            raise ValueError("classes must be a list of integers")
        if confidences is None:
            confidences = [1.0] * len(classes)
        if not isinstance(confidences, list) or not all(type(value) in (int, float) for value in confidences):
            raise ValueError("confidences must be a list of numbers")
        group.labels = _checked(classes, confidences, num_classes)


def _take_class(group: _Group, data: bytes, num_classes: int | None) -> None:
    if group.labels is None:
        if b"_" in data:  # which int() passes over
            raise ValueError(f"{data!r} is no class")
        group.labels = _checked([int(data)], [1.0], num_classes)


def _checked(classes: list[int], confidences: list[float], num_classes: int | None) -> _Labels:
    labels = checked_labels(np.array(classes, np.int64), np.array(confidences, np.float64))
    check_classes(labels[0], num_classes)
    return labels
