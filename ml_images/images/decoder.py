"""The decoder process: pictures in by standard input (a socket), answers out by the same; started by the Shrinker.

It bounds itself before it reads the first byte: memory by RLIMIT_DATA, wall time of each picture by a timer whose
signal kills (the kernel holds to it also where a C loop never returns, and when the master is gone), no core files. It
ends when the master closes the socket, or dies.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback
from types import TracebackType
from typing import BinaryIO

import numpy as np

from ml_images.images import frames
from ml_images.images.area import averaged
from ml_images.images.config import ImageConfig
from ml_images.images.cpu_time import CpuTime
from ml_images.images.decode import ImageError, silence_pillow
from ml_images.images.resize import shrink

# Peaks of 27-megapixel pictures in bytes a pixel: baseline JPEG to 384 0.3, progressive 3.4 to 8.4 (4:2:0 to CMYK), PNG
# 4.7 to 9.4, TIFF 4.7 to 8.1, HEIF 8.8, AVIF 11.9, WebP 16.9, a TIFF of floats 20.3. Nobody has them but while such a
# picture is under work.
_BYTES_A_PIXEL = 24
_BASE_BYTES = 512 << 20  # the interpreter, its libraries, the file and the answer


def main(argv: list[str]) -> None:
    """`argv`: the ImageConfig as JSON."""
    cfg = ImageConfig(**json.loads(argv[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the master
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, _BASE_BYTES + _BYTES_A_PIXEL * cfg.max_pixels)
    silence_pillow()
    _warm_up()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as master, master.makefile("rb") as requests:
        # Libraries in C tell of broken files there; what goes wrong before this line is to be seen.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        sys.excepthook = _tell
        try:
            master.sendall(frames.answer(frames.READY))
            _serve(requests, master, cfg)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the master is gone
        except MemoryError:
            # Not an answer: the memory may have gone to the pictures before. A fresh process will see.
            os._exit(frames.OUT_OF_MEMORY)


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody expected is our bug: it is raised again in the master."""
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as master:
        master.sendall(frames.answer(frames.FAILED, "".join(traceback.format_exception(kind, error, trace)).encode()))


def _warm_up() -> None:
    """Load the compiled loops, which takes 1.4 s on a new machine (they are compiled there), before any timer runs."""
    vars(sys)["modules"]["scipy"] = None  # numba would load it for nothing, where it is: 0.13 s
    gc.disable()  # 0.07 s over the hundred thousands of objects of numba
    averaged(np.zeros((2, 2, 3), dtype=np.uint8), 1, 1)
    gc.freeze()
    gc.enable()


def _serve(requests: BinaryIO, master: socket.socket, cfg: ImageConfig) -> None:
    cpu = CpuTime()
    while header := requests.read(frames.REQUEST.size):
        if len(header) < frames.REQUEST.size:
            return  # the master died while it wrote
        rotation, length = frames.REQUEST.unpack(header)
        data = requests.read(length)
        if len(data) < length:
            return
        cpu.mark("fetch")
        signal.setitimer(signal.ITIMER_REAL, cfg.decode_timeout_s)
        answer = _answer(data, cfg, rotation, cpu)
        signal.setitimer(signal.ITIMER_REAL, 0)
        master.sendall(answer)


def _answer(data: bytes, cfg: ImageConfig, rotation: int, cpu: CpuTime) -> bytes:
    try:
        return frames.of_shrunk(shrink(data, cfg, rotation, cpu), cpu.take(), kept=cfg.keeps_bytes)
    except ImageError as error:
        cpu.mark("decode")
        return frames.of_refusal(error.outcome, error.detail, cpu.take())


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(sys.argv[1:])
