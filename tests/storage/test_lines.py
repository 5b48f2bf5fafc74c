import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.storage.lines import Slice, plan_slices, read_slice

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=30)


@given(lines=LINES, ends=st.booleans(), slice_bytes=st.integers(1, 40))
def test_slices_hold_every_line_once_and_whole(
    lines: list[bytes], ends: bool, slice_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("lines") / "list.txt"
    path.write_bytes(data)
    pieces = [read_slice(piece) for piece in plan_slices([(str(path), len(data))], slice_bytes)]
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces if piece and not data.endswith(piece))


def test_a_line_longer_than_several_slices_belongs_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"a\n" + b"b" * 100 + b"\nc\n")
    pieces = [read_slice(piece) for piece in plan_slices([(str(path), path.stat().st_size)], 10)]
    assert pieces[0] == b"a\n" + b"b" * 100 + b"\n"
    assert pieces[1:-1] == [b""] * (len(pieces) - 2)
    assert pieces[-1] == b"c\n"


def test_compressed_files_are_one_slice(tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(b"a\nb\n" * 1000))
    slices = plan_slices([(str(path), path.stat().st_size)], 10)
    assert slices == [Slice(str(path), str(path), 0, -1)]
    assert read_slice(slices[0]) == b"a\nb\n" * 1000


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(b"a\nb\n" * 1000)[:-20]])
def test_a_damaged_compressed_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"annotation list '.*list.txt.gz' cannot be decompressed"):
        read_slice(plan_slices([(str(path), len(content))], 10)[0])
