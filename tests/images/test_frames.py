from hypothesis import given
from hypothesis import strategies as st

from ml_images.images import frames
from ml_images.images.cpu_time import STAGES
from ml_images.images.resize import Shrunk

SIDES = st.integers(1, 2**32 - 1)
CPU = st.fixed_dictionaries(dict.fromkeys(STAGES, st.integers(0, 2**64 - 1)))


@given(st.binary(), CPU, SIDES, SIDES, SIDES, SIDES, st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_pictures_come_back_as_they_went(
    data: bytes,
    cpu: dict[str, int],
    width: int,
    height: int,
    original_width: int,
    original_height: int,
    phash: int,
    kept: bool,
) -> None:
    shrunk = Shrunk(data, width, height, original_width, original_height, phash)
    frame = frames.of_shrunk(shrunk, cpu, kept=kept)
    kind, length, *spent = frames.ANSWER.unpack_from(frame)
    body = frame[frames.ANSWER.size :]
    assert (kind, length) == (frames.KEPT if kept else frames.SHRUNK, len(body))
    assert dict(zip(STAGES, spent, strict=True)) == cpu
    assert frames.to_shrunk(kind, body, data if kept else b"not this") == shrunk
    assert not kept or len(body) < 30


@given(st.sampled_from(["undecodable", "too_small"]), st.text(), CPU)
def test_refusals_come_back_as_they_went(outcome: str, detail: str, cpu: dict[str, int]) -> None:
    frame = frames.of_refusal(outcome, detail, cpu)
    body = frame[frames.ANSWER.size :]
    assert frames.ANSWER.unpack_from(frame) == (frames.REFUSED, len(body), *(cpu[stage] for stage in STAGES))
    assert frames.to_refusal(body) == (outcome, detail.encode(errors="backslashreplace").decode())
