import io
import re
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.archives.stream import FileStream
from ml_images.errors import InputError
from ml_images.interchange.sample import Found, Sample, checked_labels
from ml_images.interchange.tar_writer import TarWriter
from ml_images.interchange.webdataset import read_samples, write_sample

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)
LABELS = st.dictionaries(st.integers(0, 99), st.one_of(st.just(-1.0), st.floats(0, 1, width=32)))


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    tar = TarWriter(out)
    for name, data in members:
        tar.add(name, data)
    tar.finish()
    return out.getvalue()


def read(packed: bytes, max_bytes: int = 1000, num_classes: int | None = 100) -> list[Found]:
    return list(read_samples(FileStream(io.BytesIO(packed), len(packed)), "x.tar", max_bytes, num_classes))


def labels_of(found: Found) -> dict[int, float] | None:
    return None if found.labels is None else dict(zip(*(values.tolist() for values in found.labels), strict=True))


@given(
    st.lists(st.tuples(KEYS.filter(bool), st.binary(max_size=600), LABELS), unique_by=lambda row: row[0], max_size=4)
)
def test_samples_come_back(rows: list[tuple[str, bytes, dict[int, float]]]) -> None:
    out = io.BytesIO()
    tar = TarWriter(out)
    for key, image, labels in rows:
        write_sample(tar, Sample(key, image, *checked_labels(list(labels), list(labels.values())), 5, 4))
    tar.finish()
    found = read(out.getvalue())
    assert [(one.member.key, one.member.data, one.member.outcome) for one in found] == [
        (key, image, "ok") for key, image, _ in rows
    ]
    assert [labels_of(one) for one in found] == [dict(sorted(labels.items())) for _, _, labels in rows]
    # As WebDataset cuts names (webdataset.tariterators.base_plus_ext): two members a sample, one name each.
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as packed:
        cut = [re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", name) for name in packed.getnames()]
    names = [(found[1], found[2]) for found in cut if found]
    assert [ending for _, ending in names] == ["jpg", "json"] * len(rows)
    assert len({name for name, _ in names}) == len(rows)


def test_confidences_are_told_as_people_write_them() -> None:
    out = io.BytesIO()
    write_sample(TarWriter(out), Sample("ä", b"", np.array([1], np.int32), np.array([0.9], np.float32), 5, 4))
    assert '{"key": "ä", "classes": [1], "confidences": [0.9], "width": 5, "height": 4}'.encode() in out.getvalue()


def test_tars_of_others() -> None:
    members = [
        ("README", b"no ending"),
        ("./.hidden.jpg", b"hidden"),
        ("licence.txt", b"no sample"),
        ("./a/001.cls", b"7\n"),
        ("./a/001.JPG", b"first"),
        ("./a/001.seg.png", b"not the picture"),
        ("a/002.png", b"second"),
        ("a/002.json", b'{"caption": "a dog"}'),
        ("a/003.json", b'{"key": "k", "classes": [5, 3]}'),
        ("a/004.jpg", b"x" * 1001),
        ("../005.jpg", b"y"),
    ]
    found = read(tar_of(members))
    assert [(one.member.key, one.member.outcome, labels_of(one)) for one in found] == [
        ("a/001", "ok", {7: 1.0}),
        ("a/002", "ok", None),
        ("k", "not_in_archive", {3: 1.0, 5: 1.0}),
        ("a/004", "too_large", None),
        ("../005", "unsafe_member", None),
    ]
    assert [one.member.data for one in found] == [b"first", b"second", None, None, None]
    assert found[0].member.member == "x.tar:./a/001.JPG"


@pytest.mark.parametrize(
    ("first", "second"), [("a.jpg", "a.JPG"), ("a.jpg", "a.jpg"), ("a.json", "a.json"), ("./a.cls", "a.CLS")]
)
def test_two_members_of_a_sample_with_one_ending_are_refused(first: str, second: str) -> None:
    ending = first.rpartition(".")[2]
    content = {"jpg": b"x", "json": b"{}", "cls": b"1"}[ending]
    with pytest.raises(InputError, match=rf"'x.tar:{second}': the sample has two members that end with \.{ending}"):
        read(tar_of([(first, content), ("a.txt", b""), (second, content)]))


def test_of_pictures_with_different_endings_the_first_counts() -> None:
    (found,) = read(tar_of([("a.jpg", b"photo"), ("a.png", b"mask"), ("a.txt", b""), ("a.txt", b"")]))
    assert found.member.data == b"photo"


def test_links_are_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    (found,) = read(out.getvalue())
    assert (found.member.outcome, found.member.detail, found.member.data) == ("unsafe_member", "symbolic link", None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "'x.tar:a.json': Expecting"),
        (b"\xff\xfe{", "'x.tar:a.json': "),
        (b"[" * 100_000, "'x.tar:a.json': maximum recursion"),
        (b'{"classes": [1.5]}', "list of integers"),
        (b'{"classes": [true]}', "list of integers"),
        (b'{"classes": "1"}', "list of integers"),
        (b'{"classes": [1], "confidences": ["1"]}', "list of numbers"),
        (b'{"classes": [1], "confidences": []}', "1 classes and 0 confidences"),
        (b'{"classes": [1], "confidences": [NaN]}', "confidence nan"),
        (b'{"classes": [1], "confidences": [1e300]}', "confidence inf"),
        (b'{"classes": [99999999999999999999]}', "too large"),
        (b'{"classes": [100]}', "class 100, the vocabulary has 100"),
        (b'{"key": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_labels_that_are_none_are_one_line(content: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read(tar_of([("a.jpg", b""), ("a.json", content)]))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("'x.tar:a.json'")


def test_a_tar_that_is_damaged_or_cut_off_names_the_byte() -> None:
    whole = tar_of([("a.jpg", b"x" * 700), ("a.cls", b"1"), ("b.jpg", b"y" * 700)])
    for cut in (100, 512, 600, 1536, 2000, 2560, 3000, 3600):
        with pytest.raises(InputError, match=r"^'x.tar' at byte \d+: .*\(truncated\)$"):
            read(whole[:cut])
    damaged = bytearray(whole)
    damaged[1536 + 3] ^= 1
    with pytest.raises(InputError, match=r"'x.tar' at byte 2048: no tar header at byte 1536 \(corrupt\)"):
        read(bytes(damaged))
    with pytest.raises(InputError, match=r"'x.tar:a.cls' has 21 bytes"):
        read(tar_of([("a.cls", b"1" * 21)]))


PACKED = tar_of([("a.jpg", b"x" * 700), ("a.json", b'{"classes": [1], "confidences": [0.5]}'), ("b.cls", b"7")])


@given(
    st.integers(0, len(PACKED) - 1), st.integers(0, 255), st.one_of(st.just(len(PACKED)), st.integers(0, len(PACKED)))
)
def test_a_changed_tar_is_read_or_refused_in_one_line(at: int, byte: int, end: int) -> None:
    damaged = bytearray(PACKED)
    damaged[at] = byte
    try:
        read(bytes(damaged[:end]))
    except InputError as error:
        assert "\n" not in str(error) and str(error).startswith("'x.tar")


def test_digits_that_are_parted_are_no_class() -> None:
    with pytest.raises(InputError, match=r"^'x.tar:a.cls': b'1_0' is no class$"):
        read(tar_of([("a.jpg", b"x"), ("a.cls", b"1_0")]))
