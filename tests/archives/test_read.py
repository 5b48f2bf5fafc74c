import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from ml_images.archives.config import ExtractConfig
from ml_images.archives.find import find_archives
from ml_images.archives.key_index import index_of
from ml_images.archives.pieces import plan_pieces
from ml_images.archives.read import Member, Tally, read_piece

PICTURES = {
    f"n0000000{synset}/n0000000{synset}_{number}.JPEG": os.urandom(900) for synset in (1, 2) for number in range(5)
}


def tar_of(members: dict[str, bytes], *special: tarfile.TarInfo, more: Iterable[tuple[str, bytes]] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in special:
            tar.addfile(info)
        for name, data in [*members.items(), *more]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(members: dict[str, bytes], *more: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        for name, data in [*members.items(), *more]:
            packed.writestr(name, data)
    return out.getvalue()


def zstd_stream(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd_stream,
}


def inner(synset: int) -> dict[str, bytes]:
    folder = f"n0000000{synset}/"
    return {name.removeprefix(folder): data for name, data in PICTURES.items() if name.startswith(folder)}


def tar_of_tars() -> bytes:
    return tar_of({f"n0000000{synset}.tar": tar_of(inner(synset)) for synset in (1, 2)})


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def read(
    patterns: list[str], keys: list[str], cfg: ExtractConfig | None = None, piece_bytes: int = 1 << 28
) -> tuple[list[Member], Tally]:
    """What all pieces say of the keys, in their order."""
    index, tally = index_of(keys), Tally()
    pieces = [piece for archive in find_archives(patterns) for piece in plan_pieces(archive, piece_bytes)]
    members = [found for piece in pieces for found in read_piece(piece, index, {}, cfg or ExtractConfig(), tally)]
    return members, tally


FORMS: dict[str, dict[str, bytes]] = {
    "tar of tars": {"whole.tar": tar_of_tars()},
    "tars of synsets": {f"n0000000{synset}.tar": tar_of(inner(synset)) for synset in (1, 2)},
    "flat tar": {"all.tar": tar_of(PICTURES)},
    "tar with ./": {"all.tar": tar_of({f"./train/{name}": data for name, data in PICTURES.items()})},
    "zip": {"all.zip": zip_of(PICTURES)},
    "folder": PICTURES,
    "flat folder": {name.partition("/")[2]: data for name, data in PICTURES.items()},
    "folder of tars": {f"deep/er/n0000000{synset}.tar": tar_of(inner(synset)) for synset in (1, 2)},
    **{f"tar.{ending} of tars": {f"whole.tar.{ending}": pack(tar_of_tars())} for ending, pack in PACKERS.items()},
    **{
        f"tar of tar.{ending}": {
            "whole.tar": tar_of({f"n0000000{synset}.tar.{ending}": pack(tar_of(inner(synset))) for synset in (1, 2)})
        }
        for ending, pack in PACKERS.items()
    },
}


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("piece_bytes", [1, 1 << 28])
def test_every_form_gives_the_bytes_that_are_asked_for(form: str, piece_bytes: int, tmp_path: Path) -> None:
    write(tmp_path / "in", FORMS[form])
    wanted = sorted(PICTURES)[1:7]
    found, tally = read([str(tmp_path / "in")], [*wanted, "n00000001/n00000001_99.JPEG"], piece_bytes=piece_bytes)
    assert {member.key: member.data for member in found} == {key: PICTURES[key] for key in wanted}
    assert len(found) == len(wanted) and not tally.problems
    assert all(member.key.rsplit("/")[-1] in member.member for member in found)


def test_a_large_tar_and_zip_are_cut_into_pieces_in_their_order(tmp_path: Path) -> None:
    for name, data in {"whole.tar": tar_of_tars(), "all.zip": zip_of(PICTURES), "all.tar": tar_of(PICTURES)}.items():
        write(tmp_path, {name: data})
        (archive,) = find_archives([str(tmp_path / name)])
        assert len(plan_pieces(archive, 3000)) > 1
        assert len(plan_pieces(archive)) == 1
        found, tally = read([str(tmp_path / name)], list(PICTURES), piece_bytes=3000)
        assert [member.key for member in found] == list(PICTURES)
        assert tally.counts["members"] == len(PICTURES)


def link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_dangerous_members_are_refused_if_asked_for_and_otherwise_passed_over(tmp_path: Path) -> None:
    bad = [link("a/1.jpg"), link("a/2.jpg", tarfile.LNKTYPE), link("a/3.jpg", tarfile.CHRTYPE), link("x/9.jpg")]
    names = {"../a/4.jpg": b"x", "/a/5.jpg": b"x", "a/nul.jpg": b"x", "a/big.jpg": bytes(101), "a/7.jpg": b"good"}
    write(tmp_path, {"all.tar": tar_of(names, *bad)})
    keys = [f"a/{name}.jpg" for name in ("1", "2", "3", "4", "5", "nul", "big", "7")]
    found, tally = read([str(tmp_path / "all.tar")], keys, ExtractConfig(max_bytes=100))
    assert {member.key: (member.outcome, member.detail) for member in found} == {
        "a/1.jpg": ("unsafe_member", "symbolic link"),
        "a/2.jpg": ("unsafe_member", "hard link"),
        "a/3.jpg": ("unsafe_member", "character device"),
        "a/4.jpg": ("unsafe_member", "name that leaves its folder"),
        "a/5.jpg": ("unsafe_member", "absolute name"),
        "a/nul.jpg": ("unsafe_member", "name of a device"),
        "a/big.jpg": ("too_large", "101 bytes, max_bytes is 100"),
        "a/7.jpg": ("ok", ""),
    }
    assert not tally.problems


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"in/a/1.jpg": b"x", "secret": b"s"})
    (tmp_path / "in/a/2.jpg").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "in/a/3.jpg")
    found, _ = read([str(tmp_path / "in")], ["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    told = {member.key: (member.outcome, member.detail) for member in found}
    assert told == {
        "a/1.jpg": ("ok", ""),
        "a/2.jpg": ("unsafe_member", "symbolic link"),
        "a/3.jpg": ("unsafe_member", "no regular file"),
    }


def test_a_member_that_can_be_read_counts_more_than_a_refused_one_and_the_first_more_than_later_ones(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"all.tar": tar_of({"a/1.jpg": b"first", "b/a/1.jpg": b"second"}, link("a/1.jpg"))})
    found, tally = read([str(tmp_path / "all.tar")], ["a/1.jpg"])
    assert [(member.key, member.data) for member in found] == [("a/1.jpg", b"first")]
    assert tally.counts["members found again"] == 1


TWICE: dict[str, tuple[str, dict[str, bytes], list[tuple[str, bytes]]]] = {
    "same name, same bytes": ("a/1.jpg", {"a/1.jpg": b"first"}, [("a/1.jpg", b"first")]),
    "same name, other bytes": ("a/1.jpg", {"a/1.jpg": b"first"}, [("a/1.jpg", b"second"), ("a/1.jpg", b"third")]),
    "copy in a folder": ("a/1.jpg", {"a/1.jpg": b"first", "backup/a/1.jpg": b"first"}, []),
    "other bytes in a folder": ("a/1.jpg", {"old/a/1.jpg": b"first", "a/1.jpg": b"second"}, []),
    "synset in two folders": (
        "n00000001/n00000001_1.JPEG",
        {"n00000001/n00000001_1.JPEG": b"first", "all/n00000001_1.JPEG": b"second"},
        [],
    ),
    "bare, same bytes": ("1.jpg", {"a/1.jpg": b"first", "b/1.jpg": b"first"}, []),
}


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("case", sorted(TWICE))
def test_of_two_members_that_a_key_names_the_first_counts_in_every_kind_of_archive(
    kind: str, case: str, tmp_path: Path
) -> None:
    key, members, more = TWICE[case]
    write(tmp_path, {f"all.{kind}": tar_of(members, more=more) if kind == "tar" else zip_of(members, *more)})
    found, tally = read([str(tmp_path / f"all.{kind}")], [key])
    assert [(member.key, member.data, member.outcome) for member in found] == [(key, b"first", "ok")]
    assert tally.counts["members found again"] == len(members) + len(more) - 1


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bare_name_of_different_files_is_taken_back_once(kind: str, tmp_path: Path) -> None:
    files = {"a/1.jpg": b"x", "b/1.jpg": b"y", "c/1.jpg": b"z", "a/2.jpg": b"same", "b/2.jpg": b"same"}
    write(tmp_path, {f"all.{kind}": tar_of(files) if kind == "tar" else zip_of(files)})
    found, _ = read([str(tmp_path / f"all.{kind}")], ["1.jpg", "2.jpg"])
    assert [(member.key, member.outcome) for member in found] == [
        ("1.jpg", "ok"),
        ("1.jpg", "not_in_archive"),
        ("2.jpg", "ok"),
    ]


JPEG, WEBP = b"\xff\xd8\xff\xe0 one", b"RIFF\0\0\0\0WEBP two"


@pytest.mark.parametrize("kind", ["tar", "zip", "folder"])
def test_a_key_without_ending_names_pictures_only(kind: str, tmp_path: Path) -> None:
    files = {"w/0.cls": b"7", "w/0.jpg": JPEG, "w/1.json": b"{}", "w/2.txt": b"", "w/3.jpg": JPEG, "w/3.webp": WEBP}
    if kind == "folder":
        write(tmp_path / "all.folder", files)
    else:
        write(tmp_path, {f"all.{kind}": tar_of(files) if kind == "tar" else zip_of(files)})
    keys = ["w/0", "0", "w/0.cls", "w/1", "1", "2", "3"]
    found, _ = read([str(tmp_path / f"all.{kind}")], keys)
    told: dict[str, list[tuple[bytes | None, str]]] = {}
    for member in found:
        told.setdefault(member.key, []).append((member.data, member.outcome))
    assert told == {
        "w/0": [(JPEG, "ok")],
        "0": [(JPEG, "ok")],
        "w/0.cls": [(b"7", "ok")],  # it asks for that
        "w/1": [(None, "not_an_image")],
        "1": [(None, "not_an_image")],
        "2": [(None, "empty")],
        "3": [(JPEG, "ok"), (None, "not_in_archive")],  # ambiguous
    }


def test_an_attempt_goes_on_behind_what_is_done(tmp_path: Path) -> None:
    write(tmp_path, {"all.tar": tar_of(PICTURES)})
    (archive,) = find_archives([str(tmp_path / "all.tar")])
    (piece,) = plan_pieces(archive)
    keys = list(PICTURES)
    done = dict.fromkeys(keys[:4], bytes(32))
    found = read_piece(piece, index_of(keys), done, ExtractConfig(), Tally())
    assert [member.key for member in found] == keys[4:]


@pytest.mark.parametrize("ending", ["tar", *(f"tar.{packer}" for packer in PACKERS)])
def test_a_cut_archive_gives_what_is_before_the_cut_and_one_line(ending: str, tmp_path: Path) -> None:
    whole = tar_of(PICTURES) if ending == "tar" else PACKERS[ending[4:]](tar_of(PICTURES))
    write(tmp_path, {f"all.{ending}": whole[: len(whole) // 2 + 100]})
    found, tally = read([str(tmp_path / f"all.{ending}")], list(PICTURES))
    good = [member for member in found if member.data is not None]
    cut = [member for member in found if member.data is None]
    assert [member.key for member in good] == list(PICTURES)[: len(good)]
    assert all(member.data == PICTURES[member.key] for member in good)
    assert len(cut) <= 1 and all(member.outcome == "truncated" for member in cut)
    assert len(found) < len(PICTURES)
    if ending == "tar":
        assert len(good) >= 4 and len(cut) == 1
    assert [line.split(": ")[1] for line in tally.problems] == ["truncated"], tally.problems
    assert tally.counts["archives truncated"] == 1


def test_a_broken_inner_archive_costs_only_itself(tmp_path: Path) -> None:
    files = {
        "n00000009.tar": b"<html>" * 500,
        "n00000008.tar.gz": gzip.compress(tar_of(inner(1)))[:-900],
        "n00000007.zip": zip_of(PICTURES),
        "n00000002.tar": tar_of(inner(2)),
    }
    write(tmp_path, {"whole.tar": tar_of(files)})
    found, tally = read([str(tmp_path / "whole.tar")], list(PICTURES))
    assert {member.key for member in found if member.data} >= {key for key in PICTURES if key.startswith("n00000002")}
    assert [line.split(": ")[1] for line in tally.problems] == ["corrupt", "truncated", "unsupported"]


def test_a_cut_inner_tar_takes_no_byte_of_what_follows_it(tmp_path: Path) -> None:
    cut = tar_of({"n00000001_0.JPEG": b"x" * 2000})[:1536]
    write(tmp_path, {"whole.tar": tar_of({"n00000001.tar": cut, "n00000001/n00000001_1.JPEG": b"y" * 2000})})
    found, tally = read([str(tmp_path / "whole.tar")], [f"n00000001/n00000001_{number}.JPEG" for number in (0, 1)])
    told = {member.key[-6]: (member.data, member.outcome, member.detail) for member in found}
    assert told == {"0": (None, "truncated", "1024 of 2000 bytes are there"), "1": (b"y" * 2000, "ok", "")}
    assert [line.split(": ")[1] for line in tally.problems] == ["truncated"]


def test_the_third_level_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path, {"a.tar": tar_of({"b.tar": tar_of({"c.tar": tar_of(PICTURES), "x/1.jpg": b"x"})})})
    found, tally = read([str(tmp_path / "a.tar")], [*PICTURES, "x/1.jpg"])
    assert [member.key for member in found] == ["x/1.jpg"]
    assert ["unsupported" in line for line in tally.problems] == [True]


@pytest.mark.parametrize("ending", sorted(PACKERS))
def test_a_bomb_ends_its_archive_before_it_has_gone_off(ending: str, tmp_path: Path) -> None:
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 30
    body = PACKERS[ending](info.tobuf() + bytes(70 << 20))
    assert len(body) < 1 << 20
    write(tmp_path, {f"bomb.tar.{ending}": body})
    found, tally = read([str(tmp_path / f"bomb.tar.{ending}")], list(PICTURES))
    assert not found
    assert [line.split(": ")[1] for line in tally.problems] == ["bomb"]


def test_a_broken_zip_gives_what_its_directory_still_tells(tmp_path: Path) -> None:
    whole = bytearray(zip_of(PICTURES))
    places = [place for place in range(len(whole)) if whole[place : place + 4] == b"PK\1\2"]
    whole[places[6]] = 0
    write(tmp_path, {"broken.zip": bytes(whole), "cut.zip": bytes(whole[:-30]), "empty.zip": zip_of({})})
    found, tally = read([str(tmp_path / "broken.zip")], list(PICTURES))
    assert [member.key for member in found] == list(PICTURES)[:6]
    assert [line.split(": ")[1] for line in tally.problems] == ["corrupt"]
    assert read([str(tmp_path / "cut.zip")], list(PICTURES))[1].counts["archives truncated"] == 1
    assert read([str(tmp_path / "empty.zip")], list(PICTURES)) == ([], Tally())


def test_a_zip_entry_that_is_encrypted_or_damaged_is_a_named_refusal(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        secret = zipfile.ZipInfo("a/1.jpg")
        packed.writestr(secret, b"x")
        packed.writestr("a/2.jpg", b"picture")
        packed.writestr("a/3.jpg", b"x", zipfile.ZIP_LZMA)
        secret.flag_bits |= 1
    write(tmp_path, {"all.zip": out.getvalue().replace(b"picture", b"pictuRe")})
    found, _ = read([str(tmp_path / "all.zip")], ["a/1.jpg", "a/2.jpg", "a/3.jpg"])
    assert {member.key: (member.outcome, member.detail) for member in found} == {
        "a/1.jpg": ("unsafe_member", "encrypted"),
        "a/2.jpg": ("undecodable", "its CRC-32 differs"),
        "a/3.jpg": ("unsupported_format", "packed by method 14"),
    }


def test_a_self_extracting_zip_is_read_in_pieces_like_any_other(tmp_path: Path) -> None:
    write(tmp_path, {"all.zip": b"#!/bin/sh\n" * 30 + zip_of(PICTURES)})
    for piece_bytes in (1 << 28, 3000):
        found, tally = read([str(tmp_path / "all.zip")], list(PICTURES), piece_bytes=piece_bytes)
        assert [(member.key, member.data) for member in found] == list(PICTURES.items())
        assert not tally.problems


def test_a_sparse_file_is_refused_by_the_name_that_it_had(tmp_path: Path) -> None:
    made_up = tarfile.TarInfo("a/GNUSparseFile.7/1.jpg")  # as GNU tar writes it
    made_up.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a/1.jpg"}
    write(tmp_path, {"all.tar": tar_of({"a/2.jpg": b"x"}, made_up)})
    found, _ = read([str(tmp_path / "all.tar")], ["a/1.jpg", "a/2.jpg"])
    assert {member.key: (member.outcome, member.detail) for member in found} == {
        "a/1.jpg": ("unsafe_member", "sparse file"),
        "a/2.jpg": ("ok", ""),
    }


def named(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def test_names_that_are_no_utf_8_are_told_and_asked_for_with_escapes(tmp_path: Path) -> None:
    files = {b"gr\xf6\xdfe/n00000001_1.JPEG": b"1", b"\xf6.tar": b"no tar" * 200, b"\xf6/2.jpg": b"2", b"3.jpg": b"3"}
    write(tmp_path, {"all.tar": tar_of({named(name): data for name, data in files.items()})})
    write(tmp_path / "in", {"fine.jpg": b"4", named(b"\xfc.jpg"): b"\xff\xd8\xff\xe0 5", named(b"\xf6/6.jpg"): b"6"})
    write(tmp_path / "in", {named(b"\xe4.tar"): tar_of({"7.jpg": b"7"})})
    asked = {
        "n00000001/n00000001_1.JPEG": b"1",
        r"\xf6/2.jpg": b"2",
        "3.jpg": b"3",
        "fine.jpg": b"4",
        r"in/\xfc": b"\xff\xd8\xff\xe0 5",
        r"in/\xf6/6.jpg": b"6",
        r"\xe4/7.jpg": b"7",
    }
    found, tally = read([f"{tmp_path}/all.tar", f"{tmp_path}/in"], list(asked))
    assert {member.key: member.data for member in found} == asked
    assert [line.partition(": corrupt")[0] for line in tally.problems] == [f"{tmp_path}/all.tar:\\xf6.tar"]
    for text in [*tally.problems, *(member.member for member in found)]:
        text.encode()  # what Arrow takes


def test_a_folder_refuses_links_devices_and_large_files_by_any_name(tmp_path: Path) -> None:
    write(tmp_path, {"in/a/1.jpg": b"x", named(b"in/a/\xf6.jpg"): bytes(101), "secret": b"s"})
    (tmp_path / named(b"in/a/\xfc.jpg")).symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / named(b"in/a/\xe4.jpg"))
    keys = ["a/1.jpg", *(rf"a/\x{code}.jpg" for code in ("f6", "fc", "e4"))]
    found, _ = read([str(tmp_path / "in")], keys, ExtractConfig(max_bytes=100))
    assert {member.key: (member.outcome, member.detail) for member in found} == {
        "a/1.jpg": ("ok", ""),
        r"a/\xf6.jpg": ("too_large", "101 bytes, max_bytes is 100"),
        r"a/\xfc.jpg": ("unsafe_member", "symbolic link"),
        r"a/\xe4.jpg": ("unsafe_member", "no regular file"),
    }


def zip_with_header_at(members: dict[str, bytes], header: int) -> bytes:
    """A zip whose directory says by a zip64 field that the first entry begins at `header`."""
    whole = zip_of(members)
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    fields = list(struct.unpack_from("<4s6H3L5H2L", whole, start))
    wide = struct.pack("<2HQ", 1, 8, header)
    name = whole[start + 46 : start + 46 + fields[10]]
    fields[11], fields[16] = len(wide), 0xFFFFFFFF
    directory = struct.pack("<4s6H3L5H2L", *fields) + name + wide + whole[start + 46 + len(name) : end]
    count = len(members)
    return whole[:start] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)


@pytest.mark.parametrize("header", [1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_zip_entry_that_lies_nowhere_costs_only_itself(header: int, tmp_path: Path) -> None:
    write(tmp_path, {"all.zip": zip_with_header_at(PICTURES, header)})
    lost, *whole = PICTURES
    found, tally = read([str(tmp_path / "all.zip")], list(PICTURES))
    assert {member.key: member.data for member in found} == {**{key: PICTURES[key] for key in whole}, lost: None}
    (refused,) = (member for member in found if member.key == lost)
    assert (refused.outcome, refused.detail) == ("undecodable", f"no local header at byte {header}")
    assert not tally.problems


def test_entries_that_lie_about_their_bytes_make_no_crowd_of_pieces(tmp_path: Path) -> None:
    whole = bytearray(zip_of(PICTURES))
    for place in [place for place in range(len(whole)) if whole[place : place + 4] == b"PK\1\2"]:
        whole[place + 20 : place + 24] = b"\xfe\xff\xff\xff"  # packed bytes
    write(tmp_path, {"all.zip": bytes(whole)})
    (archive,) = find_archives([str(tmp_path / "all.zip")])
    assert [len(plan_pieces(archive, piece_bytes)) for piece_bytes in (1 << 28, archive.size // 3)] == [1, 4]
    found, _ = read([str(tmp_path / "all.zip")], list(PICTURES), piece_bytes=archive.size // 3)
    assert {member.key: member.data for member in found} == PICTURES
