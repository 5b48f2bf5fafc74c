import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from ml_images.interchange.tar_writer import TarWriter

MEMBERS = st.lists(
    st.tuples(st.from_regex(r"[a-z%]{1,250}\.jpg", fullmatch=True), st.binary(max_size=1100)), max_size=4
)


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    tar = TarWriter(out)
    for name, data in members:
        tar.add(name, data)
    tar.finish()
    return out.getvalue()


@given(MEMBERS)
def test_python_reads_what_was_written(members: list[tuple[str, bytes]]) -> None:
    packed = tar_of(members)
    assert len(packed) % tarfile.RECORDSIZE == 0 and packed[-1024:] == bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = [(info, tar.extractfile(info)) for info in tar]
        assert [(info.name, file.read()) for info, file in found if file] == members
        assert all((i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) == (0, 0, 0, "", "", 0o644) for i, _ in found)
