import bz2
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.errors import InputError
from ml_images.storage import lines
from ml_images.storage.lines import Slice, plan_slices, read_blocks


def read_slice(piece: Slice) -> bytes:
    return b"".join(bytes(block) for block in read_blocks(piece))


LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=30)


@given(texts=LINES, ends=st.booleans(), slice_bytes=st.integers(1, 40))
def test_slices_hold_every_line_once_and_whole(
    texts: list[bytes], ends: bool, slice_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = b"\n".join(texts) + (b"\n" if ends else b"")
    path = tmp_path_factory.mktemp("lines") / "list.txt"
    path.write_bytes(data)
    pieces = [read_slice(piece) for piece in plan_slices([(str(path), len(data))], slice_bytes)]
    assert b"".join(pieces) == data
    assert read_slice(Slice(str(path), str(path), 0, len(data))) == data
    assert all(piece.endswith(b"\n") for piece in pieces if piece and not data.endswith(piece))


@given(texts=LINES, slice_bytes=st.integers(1, 40), block_bytes=st.integers(1, 20))
def test_blocks_cut_a_slice_between_lines(
    texts: list[bytes], slice_bytes: int, block_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = b"\n".join(texts) + b"\n"
    path = tmp_path_factory.mktemp("blocks") / "list.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines, "BLOCK_BYTES", block_bytes)
        blocks = [
            [bytes(block) for block in read_blocks(piece)]
            for piece in plan_slices([(str(path), len(data))], slice_bytes)
        ]
    assert b"".join(block for piece in blocks for block in piece) == data
    assert all(block.endswith(b"\n") for piece in blocks for block in piece)
    assert sum(map(len, blocks)) <= max(1, len(texts))


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


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


@pytest.mark.parametrize(("end", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)])
@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize("members", [1, 2])
def test_a_compressed_file_comes_in_blocks_of_whole_lines(
    end: str, compress: Any, block_bytes: int, members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    texts = [b"first\n\n" + b"x" * 50 + b"\r\n", b"short\nno line feed"][:members]
    (tmp_path / f"list{end}").write_bytes(b"".join(map(compress, texts)))  # pigz, pbzip2 and cat write several members
    blocks = list(read_blocks(Slice(f"list{end}", str(tmp_path / f"list{end}"), 0, -1)))
    assert b"".join(blocks) == b"".join(texts)
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert all(blocks)
    if block_bytes == 7:
        assert len(blocks) > 1


@pytest.mark.parametrize(("name", "codec"), [("A.GZ", "gzip"), ("a.gzip", "gzip"), ("a.zstd", "zstd"), ("gz", None)])
def test_how_a_file_is_compressed_is_told_by_the_ending_of_its_name(name: str, codec: str | None) -> None:
    assert lines.codec_of(name) == codec


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(b"a\nb\n" * 1000)[:-20]], ids=["other", "cut"])
def test_a_damaged_compressed_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"annotation list '.*list.txt.gz' cannot be decompressed"):
        read_slice(plan_slices([(str(path), len(content))], 10)[0])


def test_an_empty_bzip2_stream_between_others_is_refused_by_name(tmp_path: Path) -> None:
    """bzip2 itself reads it; Arrow's decoder does not, and must not take the job down."""
    path = tmp_path / "list.txt.bz2"
    path.write_bytes(bz2.compress(b"a\t1:1\n") + bz2.compress(b"") + bz2.compress(b"b\t1:1\n"))
    with pytest.raises(InputError, match=r"annotation list '.*list.txt.bz2' cannot be decompressed"):
        read_slice(plan_slices([(str(path), path.stat().st_size)], 10)[0])
