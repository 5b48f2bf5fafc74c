"""What the decoder process and its master say to each other over their socket.

To the decoder goes a frame a picture: its rotation and its bytes. Back come, in the same order, a frame a picture with
the CPU time that the decoder has used since the frame before, and before all of them one READY. FAILED carries the
traceback of a bug of ours. All numbers are little-endian.
"""

import struct
from collections.abc import Mapping

from ml_images.images.cpu_time import STAGES
from ml_images.images.resize import Shrunk

REQUEST = struct.Struct("<HI")  # rotation in degrees, bytes that follow
# One of the kinds below, bytes that follow, CPU nanoseconds of each stage.
ANSWER = struct.Struct(f"<BI{len(STAGES)}Q")
READY, SHRUNK, KEPT, REFUSED, FAILED = range(5)

OUT_OF_MEMORY = 12  # exit code of the decoder (errno's ENOMEM), which then gives no answer

_SIZES = struct.Struct("<4Iq")  # width, height, original width and height, phash
_NONE = dict.fromkeys(STAGES, 0)


def answer(kind: int, *pieces: bytes, cpu: Mapping[str, int] = _NONE) -> bytes:
    """A frame of `kind`; `cpu`: nanoseconds by stage."""
    head = ANSWER.pack(kind, sum(map(len, pieces)), *(cpu[stage] for stage in STAGES))
    return b"".join((head, *pieces))


def of_shrunk(shrunk: Shrunk, cpu: Mapping[str, int], *, kept: bool) -> bytes:
    """SHRUNK, or KEPT without the data, which the master has."""
    numbers = (shrunk.width, shrunk.height, shrunk.original_width, shrunk.original_height, shrunk.phash)
    return answer(KEPT if kept else SHRUNK, _SIZES.pack(*numbers), b"" if kept else shrunk.data, cpu=cpu)


def to_shrunk(kind: int, body: bytes, received: bytes) -> Shrunk:
    """The picture of a SHRUNK or KEPT body, and of the bytes that were sent to the decoder."""
    numbers = _SIZES.unpack_from(body)
    return Shrunk(received if kind == KEPT else body[_SIZES.size :], *numbers)


def of_refusal(outcome: str, detail: str, cpu: Mapping[str, int]) -> bytes:
    return answer(REFUSED, outcome.encode(), b"\0", detail.encode(errors="backslashreplace"), cpu=cpu)


def to_refusal(body: bytes) -> tuple[str, str]:
    outcome, _, detail = body.partition(b"\0")
    return outcome.decode(), detail.decode()
