"""Reads a piece of an archive in one pass: the bytes of the members that are asked for, and why others are refused.

Of several members that a key names, also of those with the same full name, the first in the file that can be read
counts, in every kind of archive. (tar and unzip would leave the last one of a name on the disk. Here a member is a row
before anybody knows what follows it, and may follow in a piece that another worker reads.) Refusals come last, once
the piece is through, and only for keys that nothing else in the piece answered.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from ml_images.archives.config import ExtractConfig
from ml_images.archives.damage import Damaged
from ml_images.archives.files import list_folder
from ml_images.archives.find import kind_of
from ml_images.archives.key_index import KeyIndex
from ml_images.archives.names import components_of, danger_of, has_ending, is_archive_name, is_bare, stem_of, text_of
from ml_images.archives.pieces import Piece
from ml_images.archives.stream import FileStream, Stream, Window, open_file, open_path, unpacked
from ml_images.archives.tar import Entry, walk
from ml_images.archives.zips import ZipEntry, find_directory, read_entries, read_entry
from ml_images.images.hashing import sha256
from ml_images.images.sniff import sniff
from ml_images.storage.paths import open_location

Asked = tuple[int, str]  # number and text of a wanted key

AMBIGUOUS = "ambiguous: different files have this name, and the key has no folder"
_MAX_PROBLEMS = 20
# What the damage of one member makes of its row.
_OUTCOMES = {"truncated": "truncated", "corrupt": "undecodable", "bomb": "unsafe_member"}


@dataclass(frozen=True)
class Member:
    """What a wanted key turned out to be: bytes, or an outcome other than ok."""

    key: str
    member: str  # archive:path, for people
    data: bytes | None
    outcome: str = "ok"
    detail: str = ""


@dataclass
class Tally:
    """What was seen on the way."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)  # one line for each archive that could not be read to its end

    def tell(self, kind: str, name: str, detail: str) -> None:
        self.counts[f"archives {kind}"] += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(f"{name}: {kind}: {detail}")


def read_piece(
    piece: Piece, index: KeyIndex, done: Mapping[str, bytes | None], cfg: ExtractConfig, tally: Tally
) -> Iterator[Member]:
    """One Member for each key of `index` that the piece has an answer to; a second one, not_in_archive, takes the first
    back where a bare file name turns out to be ambiguous. Damage ends up in `tally`.

    `done` are the keys that an earlier attempt at the piece has answered, with the SHA-256 of what it found.
    """
    reader = _Reader(piece, index, cfg, tally)
    for key, digest in done.items():
        number = index.number_of(key)
        assert number is not None, f"{key} was done and not asked for"
        reader.mark(number, key, digest)
    try:
        yield from reader.read()
    except Damaged as damage:
        tally.tell(damage.kind, piece.source, damage.detail)
    for number, refused in reader.refused.items():
        if not reader.taken[number]:
            yield refused


class _Reader:
    def __init__(self, piece: Piece, index: KeyIndex, cfg: ExtractConfig, tally: Tally) -> None:
        self.piece, self.index, self.cfg, self.tally = piece, index, cfg, tally
        self.taken = bytearray(len(index))
        self.digests: dict[int, bytes | None] = {}  # of what bare file names were found to be; None: ambiguous
        self.refused: dict[int, Member] = {}

    def mark(self, number: int, key: str, digest: bytes | None) -> None:
        self.taken[number] = True
        if is_bare(key):
            self.digests[number] = digest

    def read(self) -> Iterator[Member]:
        piece = self.piece
        if piece.kind == "folder":
            yield from self._read_folder()
            return
        with open_file(piece.location) as (file, size):
            if piece.kind == "zip":
                yield from self._read_zip(file, size)
            elif piece.kind == "tar":
                stream = FileStream(file, size, piece.start)
                yield from self._read_tar(stream, piece.source, piece.place, piece.end, depth=1, is_cut=piece.is_cut)
            else:
                with unpacked(file, piece.kind, self.cfg.max_ratio) as plain:
                    yield from self._read_tar(plain, piece.source, piece.place, None, depth=1)

    def _read_tar(
        self, stream: Stream, name: str, place: tuple[str, ...], end: int | None, *, depth: int, is_cut: bool = False
    ) -> Iterator[Member]:
        for entry in walk(stream, end, is_cut=is_cut):
            if entry.special == "directory":
                continue
            if entry.special is None and is_archive_name(entry.name):
                if depth == 1:
                    yield from self._read_inner(stream, name, place, entry)
                else:
                    self.tally.tell("unsupported", f"{name}:{entry.name}", "an archive in an archive in an archive")
                continue
            self.tally.counts["members"] += 1
            asked = self._asked(place, entry.name)
            if asked:
                yield from self._take_from_tar(asked, stream, entry, f"{name}:{entry.name}", end)

    def _read_inner(self, stream: Stream, name: str, place: tuple[str, ...], entry: Entry) -> Iterator[Member]:
        """The members of an archive in an archive; when it is broken the outer one goes on behind it."""
        inner_name, inner_place = f"{name}:{entry.name}", (*place, stem_of(entry.name))
        inner_end = entry.start + entry.size
        kind = kind_of(entry.name)
        try:
            if kind == "tar":
                yield from self._read_tar(stream, inner_name, inner_place, inner_end, depth=2)
            elif kind == "zip":
                raise Damaged("unsupported", "a zip in an archive; unpack it and give it by itself")
            else:
                window = cast(BinaryIO, Window(stream, inner_end))
                with unpacked(window, kind, self.cfg.max_ratio) as plain:
                    yield from self._read_tar(plain, inner_name, inner_place, None, depth=2)
        except Damaged as damage:
            self.tally.tell(damage.kind, inner_name, damage.detail)  # damage of the outer one shows again behind it

    def _take_from_tar(
        self, asked: list[Asked], stream: Stream, entry: Entry, name: str, end: int | None
    ) -> Iterator[Member]:
        refusal = self._refusal(entry.name, entry.special, entry.size)
        if refusal:
            self._refuse(asked, name, *refusal)
            return
        data = stream.read(entry.size if end is None else max(0, min(entry.size, end - entry.start)))
        if len(data) < entry.size:
            self._refuse(asked, name, "truncated", f"{len(data)} of {entry.size} bytes are there")
        else:
            yield from self._take(asked, name, data)

    def _read_zip(self, file: BinaryIO, size: int) -> Iterator[Member]:
        start, end, before = find_directory(file, size)
        if self.piece.end < size:  # else it was planned without the directory, as that is damaged
            start, end = self.piece.start, self.piece.end
        found: list[tuple[ZipEntry, list[Asked]]] = []
        damage = None
        try:
            found.extend(self._find_in_zip(read_entries(file, start, end, before)))
        except Damaged as error:
            damage = error  # what stands before it in the directory can be read
        for entry, named in sorted(found, key=lambda pair: pair[0].header):  # forward through the file
            if asked := self._unanswered(named):  # another entry may have been taken meanwhile
                yield from self._take_from_zip(asked, file, entry)
        if damage:
            raise damage

    def _find_in_zip(self, entries: Iterator[ZipEntry]) -> Iterator[tuple[ZipEntry, list[Asked]]]:
        """Entries with all wanted keys that they answer to."""
        for entry in entries:
            if entry.special == "directory":
                continue
            if is_archive_name(entry.name):
                name = f"{self.piece.source}:{entry.name}"
                self.tally.tell("unsupported", name, "an archive in a zip; unpack it and give it by itself")
                continue
            self.tally.counts["members"] += 1
            if named := self._named(self.piece.place, entry.name):
                yield entry, named

    def _take_from_zip(self, asked: list[Asked], file: BinaryIO, entry: ZipEntry) -> Iterator[Member]:
        name = f"{self.piece.source}:{entry.name}"
        refusal = self._refusal(entry.name, entry.special, entry.size)
        if refusal:
            self._refuse(asked, name, *refusal)
            return
        try:
            data = read_entry(file, entry)
        except Damaged as damage:
            self._refuse(asked, name, _OUTCOMES[damage.kind], damage.detail)
            return
        yield from self._take(asked, name, data)

    def _read_folder(self) -> Iterator[Member]:
        filesystem, path = open_location(self.piece.location)
        for listed in sorted(list_folder(filesystem, path), key=lambda listed: listed.name):
            member = text_of(listed.name)
            if listed.is_folder or is_archive_name(member):
                continue
            self.tally.counts["members"] += 1
            asked = self._asked(self.piece.place, member)
            if not asked:
                continue
            name = f"{self.piece.source}/{member}"
            refusal = self._refusal(member, *listed.look())
            if refusal:
                self._refuse(asked, name, *refusal)
                continue
            with open_path(filesystem, f"{path}/{listed.name}") as (file, size):
                yield from self._take(asked, name, file.read(min(size, self.cfg.max_bytes)))

    def _asked(self, place: tuple[str, ...], name: str) -> list[Asked]:
        return self._unanswered(self._named(place, name))

    def _named(self, place: tuple[str, ...], name: str) -> list[Asked]:
        """The wanted keys that a member answers to."""
        return self.index.named_by([*place, *components_of(name)])

    def _unanswered(self, named: list[Asked]) -> list[Asked]:
        """Those that have no answer from this piece yet; bare ones that have one are asked again, as it may be another
        picture."""
        asked = []
        for number, key in named:
            if self.taken[number]:
                self.tally.counts["members found again"] += 1
            if not self.taken[number] or self.digests.get(number) is not None:
                asked.append((number, key))
        return asked

    def _refusal(self, name: str, special: str | None, size: int) -> tuple[str, str] | None:
        danger = danger_of(name)
        if danger:
            return "unsafe_member", danger
        if special is not None:
            return ("unsupported_format" if special.startswith("packed by") else "unsafe_member"), special
        if size > self.cfg.max_bytes:
            return "too_large", f"{size} bytes, max_bytes is {self.cfg.max_bytes}"
        return None

    def _refuse(self, asked: list[Asked], name: str, outcome: str, detail: str) -> None:
        for number, key in asked:
            self.refused.setdefault(number, Member(key, name, None, outcome, detail))

    def _take(self, asked: list[Asked], name: str, data: bytes) -> Iterator[Member]:
        is_picture = sniff(data) is not None
        for number, key in asked:
            if not is_picture and not has_ending(key):  # label.txt beside label.jpg
                outcome = "not_an_image" if data else "empty"
                self.refused.setdefault(number, Member(key, name, None, outcome, "a key without ending names pictures"))
            elif not self.taken[number]:
                self.mark(number, key, sha256(data) if is_bare(key) else None)
                yield Member(key, name, data)
            elif self.digests.get(number) != sha256(data):
                self.digests[number] = None
                yield Member(key, name, None, "not_in_archive", AMBIGUOUS)
