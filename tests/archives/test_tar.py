import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.archives.damage import Damaged
from ml_images.archives.stream import FileStream, UnpackedStream
from ml_images.archives.tar import BLOCK, Entry, walk

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
TYPES = [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]
TYPES += [tarfile.FIFOTYPE, tarfile.CHRTYPE, b"D", b"V"]


def streams(data: bytes) -> Iterator[FileStream | UnpackedStream]:
    yield FileStream(io.BytesIO(data), len(data))
    yield UnpackedStream(io.BytesIO(data), io.BytesIO(data), 1e9)


def read_all(stream: FileStream | UnpackedStream, end: int | None = None) -> tuple[list[tuple[Entry, bytes]], str]:
    """Entries that came, with their data, and how it ended."""
    found = []
    try:
        for entry in walk(stream, end):
            has_data = entry.special is None or entry.special.startswith("entry")
            found.append((entry, stream.read(entry.size) if has_data else b""))
    except Damaged as damage:
        return found, damage.kind
    return found, "done"


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    return info, data


LETTERS = st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="/")
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=90), min_size=1, max_size=3).map("/".join)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1500), st.sampled_from(TYPES)), max_size=6)


@given(MEMBERS, st.sampled_from(sorted(FORMATS)))
def test_members_are_those_of_tarfile(members: list[tuple[str, bytes, bytes]], kind: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[kind]) as tar:
        for name, data, type in members:
            info, _ = file(name, data, type)
            info.linkname = "elsewhere" if type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = 0 if type in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE) else len(data)
            try:
                tar.addfile(info, io.BytesIO(data) if info.isreg() or type in (b"D", b"V") else None)
            except ValueError:  # a name that is too long for ustar
                continue
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        expected = []
        for info in tar:
            regular = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
            source = tar.extractfile(info) if regular else None
            expected.append((info.name.rstrip("/"), info.size, regular, source.read() if source else b""))
    for stream in streams(out.getvalue()):
        found, ended = read_all(stream)
        told = [
            (entry.name.rstrip("/"), entry.size, entry.special is None, data if entry.special is None else b"")
            for entry, data in found
        ]
        assert (told, ended) == (expected, "done")


def test_long_names_links_and_devices_are_told() -> None:
    long = "d/" * 120 + "x.jpg"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = tar_of([file(long, b"abc"), file("ü.jpg", b"d"), file("l", b"", tarfile.SYMTYPE)], kind)
        for stream in streams(data):
            found, _ = read_all(stream)
            assert [(entry.name, entry.special) for entry, _ in found] == [
                (long, None),
                ("ü.jpg", None),
                ("l", "symbolic link"),
            ]


def test_a_pax_header_says_the_size_where_the_field_is_too_small_for_it() -> None:
    info, data = file("big", b"abc")
    info.pax_headers = {"size": "3"}
    whole = tar_of([(info, data), file("after", b"x")], tarfile.PAX_FORMAT)
    narrow, zero = info.tobuf(tarfile.USTAR_FORMAT), file("big", b"")[0].tobuf(tarfile.USTAR_FORMAT)
    assert narrow in whole
    for stream in streams(whole.replace(narrow, zero)):
        found, ended = read_all(stream)
        assert [(entry.name, data) for entry, data in found] == [("big", b"abc"), ("after", b"x")]
        assert ended == "done"


def test_nothing_is_skipped_that_is_not_there() -> None:
    for place, end in ((11, None), (9, 8)):
        for stream in streams(bytes(10)):
            with pytest.raises(Damaged, match=f"ends before byte {place}"):
                stream.skip_to(place, end)
    for stream in streams(bytes(range(10))):
        stream.skip_to(4)
        assert (stream.read(3), stream.position) == (b"\4\5\6", 7)


def test_a_sparse_file_is_told_and_passed_over() -> None:
    header = bytearray(tarfile.TarInfo("hole").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[124:136] = b"%011o\0" % 700
    header[482] = 1
    more = bytearray(BLOCK)
    more[504] = 1
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    rest = tar_of([file("after", b"x")])
    data = bytes(header) + bytes(more) + bytes(BLOCK) + b"\1" * 2 * BLOCK + rest
    for stream in streams(data):
        found, ended = read_all(stream)
        assert [(entry.name, entry.special) for entry, _ in found] == [("hole", "sparse file"), ("after", None)]
        assert ended == "done"


def test_a_pax_sparse_file_is_told_by_its_real_name() -> None:
    info, data = file("hole", b"abc")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "d/real", "path": "d/GNUSparseFile.7/real"}
    found, _ = read_all(next(streams(tar_of([(info, data)], tarfile.PAX_FORMAT))))
    assert [(entry.name, entry.special) for entry, _ in found] == [("d/real", "sparse file")]


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_cut_at_every_place_gives_the_whole_members_before_it(kind: str) -> None:
    members = [file("a.jpg", b"a" * 700), file(("b" * 60 + "/") * 2 + "b", b"b" * 512), file("c", b""), file("d", b"d")]
    whole = tar_of(members, FORMATS[kind])
    (all_of_it, ended), end_mark = read_all(next(streams(whole))), whole.index(bytes(2 * BLOCK))
    assert (len(all_of_it), ended) == (4, "done")
    end_mark = max(entry.start + -(-entry.size // BLOCK) * BLOCK for entry, _ in all_of_it)
    for cut in [*range(0, end_mark + BLOCK, 64), *range(BLOCK - 1, end_mark, BLOCK), *range(1, end_mark, BLOCK)]:
        for stream in (*streams(whole[:cut]), None):
            if stream is None:  # the same bytes as an archive in an archive
                found, ended = read_all(FileStream(io.BytesIO(whole), len(whole)), cut)
            else:
                found, ended = read_all(stream)
            sound = [pair for pair in found if pair[0].start + pair[0].size <= cut]
            assert ended == "truncated", cut
            assert [entry for entry, _ in sound] == [
                entry for entry, _ in all_of_it if entry.start <= cut and entry.start + entry.size <= cut
            ]
            if stream is not None:
                assert all(data == dict(all_of_it)[entry] for entry, data in sound)
                assert all(len(data) < entry.size for entry, data in found if entry.start + entry.size > cut)
    assert read_all(next(streams(whole[: end_mark + BLOCK])))[1] == "done"


@given(st.data())
@settings(max_examples=300)
def test_broken_bytes_end_in_damage_or_in_order(data: st.DataObject) -> None:
    """No other exception, no endless loop, and never a byte behind the end."""
    whole = bytearray(tar_of([file("a" * 120, b"a" * 700), file("b", b"b" * 512), file("c", b"c")], tarfile.PAX_FORMAT))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # a right checksum, so that more than the checksum is tried
        for at in range(0, len(whole) - BLOCK, BLOCK):
            if whole[at + 257 : at + 262] == b"ustar":
                block = whole[at : at + BLOCK]
                whole[at + 148 : at + 156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    for stream in streams(bytes(whole)):
        found, ended = read_all(stream)
        assert ended in ("done", "truncated", "corrupt")
        assert stream.position <= len(whole) and len(found) <= len(whole) // BLOCK


@pytest.mark.parametrize("size", [b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"77777777777\0"])
def test_a_lie_about_a_size_is_a_truncated_archive(size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("lie").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    for stream in streams(bytes(header) + bytes(4 * BLOCK)):
        found, ended = read_all(stream)
        assert (len(found), ended) == (1, "truncated")
        assert len(found[0][1]) < found[0][0].size


@pytest.mark.parametrize("size", [b"\xff" * 12, b"-0000000001\0", b"zzz\0\0\0\0\0\0\0\0\0"])
def test_a_size_that_is_none_is_corrupt(size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("lie").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    assert [read_all(stream)[1] for stream in streams(bytes(header) + bytes(1024))] == ["corrupt", "corrupt"]


def test_a_large_extended_header_is_corrupt() -> None:
    header = bytearray(tarfile.TarInfo("././@LongLink").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"L"
    header[124:136] = b"%011o\0" % (1 << 21)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    assert [read_all(stream)[1] for stream in streams(bytes(header) + bytes(1 << 22))] == ["corrupt", "corrupt"]


def test_what_is_no_tar_is_corrupt_and_an_empty_file_truncated() -> None:
    assert read_all(next(streams(b"<html>" * 200)))[1] == "corrupt"
    assert read_all(next(streams(b"")))[1] == "truncated"


def test_checksums_of_signed_bytes_are_right_too() -> None:
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[0] = 0xE9
    signed = sum(byte - 256 * (byte > 127) for byte in header[:148] + header[156:]) + 256
    header[148:156] = b"%06o\0 " % signed
    assert read_all(next(streams(bytes(header) + bytes(1024))))[1] == "done"


def test_a_piece_ends_at_its_end_without_a_mark() -> None:
    whole = tar_of([file("a", b"a" * 600), file("b", b"b"), file("c", b"c")])
    entries = list(walk(next(streams(whole))))
    cut = entries[2].header
    pieces = [list(walk(FileStream(io.BytesIO(whole), len(whole)), cut, is_cut=True))]
    pieces.append(list(walk(FileStream(io.BytesIO(whole), len(whole), cut), len(whole))))
    assert pieces == [entries[:2], entries[2:]]


@pytest.mark.parametrize("kind", sorted(FORMATS))
@pytest.mark.parametrize("name", [b"gr\xf6\xdfe/1.jpg", b"\xf6" * 60 + b"/" + b"\xdf" * 60])
def test_a_name_that_is_no_utf_8_is_text_with_escapes(kind: str, name: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[kind], encoding="latin-1") as tar:
        info, data = file(name.decode("utf-8", "surrogateescape"), b"data")
        info.name = name.decode("latin-1")
        if kind == "pax":  # as tarfile writes it for names that it was given as bytes of unknown meaning
            info.name = name.decode("utf-8", "surrogateescape")
        tar.addfile(info, io.BytesIO(data))
    for stream in streams(out.getvalue()):
        found, end = read_all(stream)
        assert end == "done"
        assert [entry.name for entry, _ in found] == [name.decode("utf-8", "backslashreplace")]
