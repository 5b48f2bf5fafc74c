import os
from pathlib import Path
from typing import Any

import pytest

from ml_images.archives.find import find_archives, fingerprint
from ml_images.errors import InputError
from ml_images.storage.paths import join
from ml_images.storage.tables import write_text


def test_archives_come_in_the_order_given_sorted_within_a_pattern_and_once(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "z.tar.gz", "c.zip"):
        (tmp_path / name).write_bytes(b"x")
    found = find_archives([str(tmp_path / "z.tar.gz"), str(tmp_path / "*.tar"), str(tmp_path)])
    assert [(archive.place, archive.kind) for archive in found] == [
        (("z",), "gz"),
        (("a",), "tar"),
        (("b",), "tar"),
        ((tmp_path.name, "c"), "zip"),
    ]


def test_a_folder_is_its_archives_and_its_folders_of_files(tmp_path: Path) -> None:
    for name in ("in/train/n1/1.jpg", "in/train/n2/2.jpg", "in/val.tar", "in/empty/"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    found = find_archives([f"{tmp_path}/in/"])
    assert [(archive.source.removeprefix(str(tmp_path)), archive.kind, archive.place) for archive in found] == [
        ("/in/val.tar", "tar", ("in", "val")),
        ("/in", "folder", ("in",)),  # the link lies in it
        ("/in/train/n1", "folder", ("in", "train", "n1")),
        ("/in/train/n2", "folder", ("in", "train", "n2")),
    ]


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for pattern, told in [
        (f"{tmp_path}/gone.tar", "does not exist"),
        (f"{tmp_path}/*.tar", "matches no file"),
        (f"{tmp_path}/list.txt", "accepted: .tar, .tar.gz"),
        (f"{tmp_path}/empty", "at least one is needed"),
    ]:
        with pytest.raises(InputError, match=told):
            find_archives([pattern])


def test_patterns_name_archives_and_folders_on_s3_as_they_do_on_disk(s3: Any, tmp_path: Path) -> None:
    bucket = s3.bucket()
    names = ("in/n1.tar", "in/n2.zip", "in/n3/1.jpg", "in/.n4.tar", "in/other.tar")
    for name in names:
        write_text(join(bucket, name), "x")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    told = [
        [(one.source.removeprefix(root), one.kind, one.place) for one in find_archives([f"{root}/in/*[0-9]*"])]
        for root in (bucket, str(tmp_path))
    ]
    assert told[0] == told[1]
    assert [place for place, *_ in told[0]] == ["/in/n1.tar", "/in/n2.zip", "/in/n3"]
    with pytest.raises(InputError, match=r"^archive 's3.*/x\*' matches no file$"):
        find_archives([f"{bucket}/in/x*"])


def test_the_fingerprint_changes_with_the_archives(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(b"x")
    both, one = find_archives([f"{tmp_path}/*.tar"]), find_archives([f"{tmp_path}/a.tar"])
    assert fingerprint(both) == fingerprint(both[::-1]) != fingerprint(one)
    os.utime(tmp_path / "a.tar", ns=(1, 1))
    assert fingerprint(find_archives([f"{tmp_path}/a.tar"])) != fingerprint(one)


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_the_fingerprint_of_a_folder_changes_with_its_files(where: str, s3: Any, tmp_path: Path) -> None:
    root = s3.bucket() if where == "s3" else str(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        write_text(join(root, f"in/{name}"), "x")
    before = [fingerprint(find_archives([join(root, "in")])) for _ in range(2)]
    folder = (tmp_path / "in").stat() if where == "disk" else None
    if folder is not None:
        (tmp_path / "in/a.jpg").write_text("mended")
        os.utime(tmp_path / "in", ns=(folder.st_atime_ns, folder.st_mtime_ns))
    else:
        write_text(join(root, "in/a.jpg"), "mended")
    assert before[0] == before[1] != fingerprint(find_archives([join(root, "in")]))


def test_names_that_are_no_utf_8_are_found_and_told_with_escapes(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    for name in (b"\xf6/1.jpg", b"\xf6/\xfc.tar"):
        path = Path(os.fsdecode(root + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    told = [
        (r"\xf6/\xfc.tar", b"\xf6/\xfc.tar", (r"\xf6", r"\xfc"), 1),
        (r"\xf6", b"\xf6", (r"\xf6",), 0),
    ]
    for pattern in (os.fsdecode(root + b"/\xf6"), f"{tmp_path}/*"):
        found = find_archives([pattern])
        assert [
            (
                archive.source.removeprefix(f"{tmp_path}/"),
                os.fsencode(archive.location).removeprefix(root + b"/"),
                archive.place,
                archive.size,
            )
            for archive in found
        ] == told
        assert len(fingerprint(found)) == 8
    (single,) = find_archives([os.fsdecode(root + b"/\xf6/\xfc.tar")])
    assert (single.source, single.place) == (f"{tmp_path}/\\xf6/\\xfc.tar", (r"\xfc",))
