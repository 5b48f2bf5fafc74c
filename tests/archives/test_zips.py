import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_images.archives.damage import Damaged
from ml_images.archives.zips import ZipEntry, find_directory, read_entries, read_entry


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        packed.comment = comment
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def entries_of(data: bytes) -> list[ZipEntry]:
    file = io.BytesIO(data)
    return list(read_entries(file, *find_directory(file, len(data))))


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="/\\"), min_size=1, max_size=40)


@given(
    st.dictionaries(NAMES, st.binary(max_size=3000), max_size=6),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=30),
)
def test_entries_and_bytes_are_those_of_zipfile(members: dict[str, bytes], method: int, comment: bytes) -> None:
    data = zip_of(members, method, comment.replace(b"PK", b""))
    found = entries_of(data)
    assert {entry.name: read_entry(io.BytesIO(data), entry) for entry in found} == members
    assert all(entry.special is None for entry in found)


def zip64_of(members: dict[str, bytes]) -> bytes:
    data = zip_of(members)
    end = data.index(b"PK\5\6")
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", data[end:])
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    narrow = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + wide + place + narrow


COMMENTS = {
    "within": b"a PK\5\6 b",
    "alone": b"PK\5\6",
    "many": b"PK\5\6" * 3000,
    "a record, then more": b"PK\5\6" + bytes(40),
}


@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS)
@pytest.mark.parametrize("front", [b"", b"MZ" * 999], ids=["", "self-extracting"])
def test_the_mark_of_the_end_in_a_comment_is_no_end(comment: bytes, front: bytes) -> None:
    data = front + zip_of({"a": b"data"}, comment=comment)
    (entry,) = entries_of(data)
    assert read_entry(io.BytesIO(data), entry) == b"data"


def test_bytes_behind_an_archive_do_not_hide_it() -> None:
    data = zip_of({"a": b"data"}, comment=b"more") + bytes(100)
    (entry,) = entries_of(data)
    assert read_entry(io.BytesIO(data), entry) == b"data"


@pytest.mark.parametrize("make", [zip_of, zip64_of])
@pytest.mark.parametrize(
    "front", [b"#!/bin/sh\n", bytes(100_000), zip_of({"b": b"other"})], ids=["script", "long", "zip"]
)
def test_bytes_in_front_of_an_archive_are_passed_over(make: Callable[[dict[str, bytes]], bytes], front: bytes) -> None:
    data = front + make({"a": b"data", "c": b"more"})
    found = {entry.name: read_entry(io.BytesIO(data), entry) for entry in entries_of(data)}
    assert found == {"a": b"data", "c": b"more"}


def test_the_directory_of_a_zip_inside_is_not_that_of_a_cut_archive() -> None:
    data = zip_of({"first": b"data", "inner.zip": zip_of({"a": b"data"}), "last": bytes(500)})
    with pytest.raises(Damaged):
        entries_of(data[: data.index(bytes(500)) + 9])


def test_a_directory_of_more_than_16_bits_is_found() -> None:
    data = zip64_of({"a": b"data"})
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.namelist() == ["a"]
    (entry,) = entries_of(data)
    assert read_entry(io.BytesIO(data), entry) == b"data"


def test_an_entry_far_into_the_file_is_found_by_its_zip64_field() -> None:
    wide = struct.pack("<2H3Q", 1, 24, 5, 5, 1 << 40)
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 7, *(0xFFFFFFFF,) * 2, 1, 28, 0, 0, 0, 0, 0xFFFFFFFF
    )
    (found,) = read_entries(io.BytesIO(entry + b"a" + wide), 0, len(entry) + 29, 0)
    assert (found.size, found.packed, found.header) == (5, 5, 1 << 40)


def test_what_is_no_plain_file_is_told() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("folder/", b"")
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "elsewhere")
        packed.writestr("bz.jpg", b"x", zipfile.ZIP_BZIP2)
        secret = zipfile.ZipInfo("secret.jpg")
        packed.writestr(secret, b"x")
        secret.flag_bits |= 1
    found = {entry.name: entry.special for entry in entries_of(out.getvalue())}
    assert found == {
        "folder/": "directory",
        "link.jpg": "symbolic link",
        "bz.jpg": "packed by method 12",
        "secret.jpg": "encrypted",
    }


@pytest.mark.parametrize(("told", "kind"), [(999, "bomb"), (1001, "truncated")])
def test_a_lie_about_the_size_is_found_out(told: int, kind: str) -> None:
    data = zip_of({"a": bytes(1000)}, zipfile.ZIP_DEFLATED)
    (entry,) = entries_of(data)
    lie = ZipEntry(entry.name, entry.place, None, entry.method, entry.crc, entry.packed, told, entry.header)
    with pytest.raises(Damaged) as damage:
        read_entry(io.BytesIO(data), lie)
    assert damage.value.kind == kind


def test_a_bomb_is_unpacked_no_further_than_announced() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(30)) + packer.flush()
    header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(body), 10, 0, 0)
    entry = ZipEntry("a", len(header + body), None, 8, 0, len(body), 10, 0)
    with pytest.raises(Damaged, match="bomb"):
        read_entry(io.BytesIO(header + body), entry)


@pytest.mark.parametrize("header", [25, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_an_entry_that_would_lie_behind_its_own_directory_is_corrupt(header: int, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(data := zip_of({"a": b"abcdef"}))
    (entry,) = entries_of(data)
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(Damaged, match=f"no local header at byte {header}"):
        read_entry(file, replace(entry, header=header))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("told", [1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_an_entry_of_more_bytes_than_any_file_holds_ends_early(method: int, told: int, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(data := zip_of({"a": b"abcdef"}, method))
    (entry,) = entries_of(data)
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(Damaged, match="truncated: "):
        read_entry(file, replace(entry, packed=told, size=told))


def unmarked(data: bytes) -> bytes:
    """Without the flag that names are UTF-8."""
    (entry,) = (at for at in range(len(data)) if data[at : at + 4] == b"PK\1\2")
    flags = struct.unpack_from("<H", data, entry + 8)[0] & ~0x800
    return data[: entry + 8] + struct.pack("<H", flags) + data[entry + 10 :]


def test_names_in_utf_8_are_read_as_such_where_nothing_says_so() -> None:
    assert [entry.name for entry in entries_of(unmarked(zip_of({"плод/café.png": b"x"})))] == ["плод/café.png"]
    dos = unmarked(zip_of({"größe": b"x"})).replace("größe".encode(), b"gr\x94\xe1e\x94\x94")
    assert [entry.name for entry in entries_of(dos)] == ["größeöö"]


def test_a_name_that_stands_in_a_field_of_its_own_is_read_there() -> None:
    for raw, name in ((b"gr?e", "größe"), (b"other", "gr?e")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            info = zipfile.ZipInfo("gr?e")
            field = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + "größe".encode()
            info.extra = struct.pack("<2H", 0x7075, len(field)) + field
            packed.writestr(info, b"x")
        assert [entry.name for entry in entries_of(out.getvalue())] == [name]


def test_a_name_that_is_no_utf_8_is_text_with_escapes() -> None:
    data = zip_of({"größe\\1.jpg": b"x"}).replace("größe".encode(), b"gr\xf6\xdfe\xff\xff")
    assert [entry.name for entry in entries_of(data)] == ["gr\\xf6\\xdfe\\xff\\xff/1.jpg"]


def test_a_changed_byte_is_found_by_the_checksum() -> None:
    data = bytearray(zip_of({"a": b"abcdef"}))
    (entry,) = entries_of(bytes(data))
    data[data.index(b"abcdef")] ^= 1
    with pytest.raises(Damaged, match="CRC-32"):
        read_entry(io.BytesIO(bytes(data)), entry)


@given(st.data())
@settings(max_examples=300)
def test_broken_bytes_end_in_damage(data: st.DataObject) -> None:
    whole = bytearray(zip_of({"a.jpg": bytes(range(50)), "b.jpg": bytes(500)}, zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        for entry in entries_of(cut):
            entry.name.encode()  # text, whatever it was made of
            if entry.special is None:
                assert len(read_entry(io.BytesIO(cut), entry)) == entry.size
    except Damaged as damage:
        assert damage.kind in ("truncated", "corrupt", "bomb")
