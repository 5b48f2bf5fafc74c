"""Cuts archives into pieces that workers read on their own, in the order of their members.

An uncompressed tar is cut between two of its (outer) members, a zip between two entries of its directory: both are
found by reading headers only. A compressed tar and a folder are one piece.
"""

import itertools
from dataclasses import dataclass

from pyarrow import fs

from ml_images.archives.damage import Damaged
from ml_images.archives.find import Archive
from ml_images.archives.names import is_archive_name
from ml_images.archives.stream import FileStream, open_file
from ml_images.archives.tar import walk
from ml_images.archives.zips import find_directory, read_entries
from ml_images.storage.paths import open_location

PIECE_BYTES = 256 << 20  # some 2,300 pictures of ImageNet, which take a core seven seconds


@dataclass(frozen=True)
class Piece:
    source: str
    location: str
    kind: str
    place: tuple[str, ...]
    start: int  # of a tar: bytes of the file; of a zip: bytes of the file in which the directory's entries lie
    end: int
    is_cut: bool  # more of the archive follows


def plan_pieces(archive: Archive, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """The pieces of an archive; where it is damaged the last piece goes to its end, so that the reader meets it."""
    bounds = [0, archive.size]
    if archive.kind == "tar" and archive.size > piece_bytes:
        bounds = _cut_tar(archive, piece_bytes)
    elif archive.kind == "zip":
        bounds = _cut_zip(archive, piece_bytes)
    return [
        Piece(archive.source, archive.location, archive.kind, archive.place, start, end, end < bounds[-1])
        for start, end in itertools.pairwise(bounds)
    ]


def _cut_tar(archive: Archive, piece_bytes: int) -> list[int]:
    bounds = [0]
    is_local = isinstance(open_location(archive.location)[0], fs.LocalFileSystem)
    with open_file(archive.location) as (file, size):
        try:
            for entry in walk(FileStream(file, size)):
                # Elsewhere a header costs a request: worth it for the members that are archives, not for pictures.
                if not is_local and entry.special is None and not is_archive_name(entry.name):
                    break
                if entry.header - bounds[-1] >= piece_bytes:
                    bounds.append(entry.header)
        except Damaged:
            pass  # whoever reads the last piece tells
    return [*bounds, archive.size]


def _cut_zip(archive: Archive, piece_bytes: int) -> list[int]:
    with open_file(archive.location) as (file, size):
        try:
            start, end, before = find_directory(file, size)
            bounds, held, most = [start], 0, size // piece_bytes + 1
            for entry in read_entries(file, start, end, before):
                # Honest entries fill the file at most; a million that lie must not become a million pieces.
                if held >= piece_bytes and len(bounds) < most:
                    bounds.append(entry.place)
                    held = 0
                held += entry.packed
        except Damaged:
            return [0, archive.size]
    return [*bounds, end]
