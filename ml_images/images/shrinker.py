"""Pictures shrunk in a process of their own, which a hostile file can kill without taking the job along.

The decoder (ml_images.images.decoder) answers in the order in which it was asked, so the first picture without an
answer is the one on which it died. That one gets a second chance, first in line in a fresh process, as a death may have
come from elsewhere (memory taken by others, a signal); when it kills that one too, it is refused as decoder_died. The
pictures behind it are handed to the fresh process and count as never tried.

Nothing here waits, and nothing is threaded: submit and collect move what the socket takes or has.
"""

import atexit
import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ml_images.images import frames
from ml_images.images.config import ImageConfig
from ml_images.images.cpu_time import STAGES, CpuTime
from ml_images.images.resize import Shrunk

_CHUNK = 1 << 16  # a larger block would be mapped and unmapped for each call
_TRIES = 2
_GRACE_S = 5.0  # between the end of a socket and that of its process, which has up to gigabytes to give back
# A decoder that dies again and again though no picture is to blame will do so for ever (a broken installation).
_MAX_DEATHS_IN_A_ROW = 5


@dataclass(frozen=True)
class Refused:
    outcome: str  # a name of ml_images.outcomes
    detail: str


@dataclass
class _Job:
    token: int
    data: bytes
    rotation: int
    deaths: int = 0  # of decoders while they had it


class Shrinker:
    """One decoder process. To be used by one thread; starting takes 0.4 s of CPU, to which nobody has to wait."""

    def __init__(self, cfg: ImageConfig) -> None:
        self._cfg = cfg
        self._jobs = deque[_Job]()  # those without an answer, in order
        self._num_begun = 0  # how many of them the decoder has, the last one perhaps in part
        self._unsent = deque[memoryview]()  # of the last one begun
        self._received = bytearray()
        self._deaths_in_a_row = 0
        self._bytes = 0
        self._closed = False
        self._cpu = CpuTime()
        self._events = selectors.DefaultSelector()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket
        self._watched = 0
        self._ready = False
        self._start()

    @property
    def num_pending(self) -> int:
        """Pictures submitted whose results were not collected."""
        return len(self._jobs)

    @property
    def bytes_pending(self) -> int:
        """Their bytes, which are held here until the result is there."""
        return self._bytes

    def fileno(self) -> int:
        """Readable when there is something for collect() to do: results, room for waiting frames, a dead decoder.

        Stable over restarts. The decoder holds to its time limit itself, so nobody has to look at a clock.
        """
        return self._events.fileno()

    def submit(self, token: int, data: bytes, rotation: int = 0) -> None:
        """Queue one picture; `rotation` as images.decode has it. The token comes back with the result."""
        if self._process is None:
            self._start()
        self._jobs.append(_Job(token, data, rotation))
        self._bytes += len(data)
        self._send()

    def collect(self) -> list[tuple[int, Shrunk | Refused]]:
        """What was finished since the last call. Raises RuntimeError where the decoder failed by our own fault."""
        done: list[tuple[int, Shrunk | Refused]] = []
        alive = self._receive()
        self._take_answers(done)
        if self._process is not None and not alive:
            self._bury(self._process, done)
        self._send()
        return done

    def take_cpu_time(self) -> dict[str, int]:
        """CPU nanoseconds of the decoder by stage (images/cpu_time.py) since the last call, for all that was collected;
        those for a picture on which it died are lost."""
        return self._cpu.take()

    def close(self) -> None:
        """End the decoder; pictures without a result are forgotten. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._end(self._process)
        self._events.close()
        self._jobs.clear()
        self._bytes = 0
        self._closed = True

    def serves(self, cfg: ImageConfig) -> bool:
        """Is it open, idle and of these options?"""
        return not (self._closed or self._jobs) and self._cfg == cfg

    def __enter__(self) -> "Shrinker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # Imports as here, whatever put them in place (a zip of --py-files); threads of numpy's BLAS would only take
        # memory.
        paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ml_images.images.decoder", json.dumps(dataclasses.asdict(self._cfg))]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment)
        ours.setblocking(False)
        self._socket, self._ready, self._num_begun = ours, False, 0
        self._watched = selectors.EVENT_READ
        self._events.register(ours, self._watched)

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Reap the decoder: its exit code, or minus the signal that killed it."""
        self._process = None
        self._events.unregister(self._socket)
        self._socket.close()
        self._received.clear()
        self._unsent.clear()
        with process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            process.kill()  # nothing to one that has ended
        return process.returncode

    def _send(self) -> None:
        """Give the decoder what its socket takes, and watch for room if that was not all."""
        if self._process is None:
            return
        events = selectors.EVENT_READ
        while self._unsent or self._num_begun < len(self._jobs):
            if not self._unsent:
                job = self._jobs[self._num_begun]
                self._num_begun += 1
                header = frames.REQUEST.pack(job.rotation, len(job.data))
                self._unsent.extend((memoryview(header), memoryview(job.data)))
            try:
                self._drop(self._socket.sendmsg(self._unsent))
            except BlockingIOError:
                events |= selectors.EVENT_WRITE
                break
            except (BrokenPipeError, ConnectionResetError):
                break  # it died; the socket is readable, and collect will see
        if events != self._watched:
            self._watched = events
            self._events.modify(self._socket, events)

    def _drop(self, num_sent: int) -> None:
        while self._unsent and num_sent >= len(self._unsent[0]):
            num_sent -= len(self._unsent.popleft())
        if num_sent:
            self._unsent[0] = self._unsent[0][num_sent:]

    def _receive(self) -> bool:
        """Read what is there; False when the decoder has ended."""
        while self._process is not None:
            try:
                chunk = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except ConnectionResetError:
                return False
            if not chunk:
                return False
            self._received += chunk
        return True

    def _take_answers(self, done: list[tuple[int, Shrunk | Refused]]) -> None:
        while len(self._received) >= frames.ANSWER.size:
            kind, length, *spent = frames.ANSWER.unpack_from(self._received)
            end = frames.ANSWER.size + length
            if len(self._received) < end:
                return
            with memoryview(self._received) as received:
                body = bytes(received[frames.ANSWER.size : end])
            del self._received[:end]
            self._deaths_in_a_row = 0
            self._cpu.add(dict(zip(STAGES, spent, strict=True)))
            if kind == frames.READY:
                self._ready = True
                continue
            job = self._pop()
            self._num_begun -= 1
            if kind == frames.FAILED:
                raise RuntimeError(f"the decoder failed on a picture of {len(job.data)} bytes: {body.decode()}")
            if kind == frames.REFUSED:
                done.append((job.token, Refused(*frames.to_refusal(body))))
            else:
                done.append((job.token, frames.to_shrunk(kind, body, job.data)))

    def _pop(self) -> _Job:
        job = self._jobs.popleft()
        self._bytes -= len(job.data)
        return job

    def _bury(self, process: subprocess.Popen[bytes], done: list[tuple[int, Shrunk | Refused]]) -> None:
        """Find who is to blame for the decoder's end, and start another one if there is anything to do."""
        had_one = self._ready and self._num_begun > 0
        reason = self._reason(self._end(process))
        if had_one:
            self._jobs[0].deaths += 1
            if self._jobs[0].deaths == _TRIES:
                done.append((self._pop().token, Refused("decoder_died", reason)))
        else:
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row == _MAX_DEATHS_IN_A_ROW:
                raise RuntimeError(f"the decoder process does not start ({reason}); its own words are on stderr")
        if self._jobs:
            self._start()

    def _reason(self, code: int) -> str:
        if code == -signal.SIGALRM:
            return f"took more than {self._cfg.decode_timeout_s:g} s"
        if code == frames.OUT_OF_MEMORY:
            return "out of memory"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


_shared: tuple[int, Shrinker] | None = None


def shared_shrinker(cfg: ImageConfig) -> Shrinker:
    """The one Shrinker of this process, kept from task to task; a new one where the last user asked for other options
    or left pictures behind. Nobody has to close it: it ends with the process."""
    global _shared
    pid = os.getpid()
    if _shared is not None and _shared[0] == pid:  # after a fork it is the parent's
        if _shared[1].serves(cfg):
            return _shared[1]
        _shared[1].close()
    shrinker = Shrinker(cfg)
    atexit.register(shrinker.close)
    _shared = (pid, shrinker)
    return shrinker
