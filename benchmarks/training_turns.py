"""Training loops that live side by side and work in turns: one goes on for some steps while all others are stopped.

A host that others share changes its speed by the minute; whole runs one after the other would measure the host. Each
loop stops itself after its turn (engines/steps_log.py); the rest of its process tree is then stopped, too, as Horovod's
threads ask each other a thousand times a second even when there is nothing to do.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from bench import Failed

_POLL_S = 0.1  # costs the loop whose turn it is 0.3 % of a core


@dataclass(frozen=True)
class Step:
    step_s: float
    loss: float
    waited_s: float
    warm: bool  # not to be counted: caches are filled, layers compiled


@dataclass(frozen=True)
class Loop:
    """`command` writes its steps into `steps`, as engines/steps_log.py does."""

    name: str
    command: Sequence[str]
    steps: Path


def take_turns(loops: Sequence[Loop], environment: Mapping[str, str]) -> dict[str, list[Step]]:
    """Run all to their ends, one at a time in turns; their steps by name. Raises Failed."""
    with ExitStack() as stack:
        running = []
        for loop in loops:
            one = stack.enter_context(_started(loop, environment))
            one.wait()
            running.append(one)
        while running:
            for one in running:
                one.go_on()
                one.wait()
            running = [one for one in running if not one.ended]
    return {loop.name: read_steps(loop.steps) for loop in loops}


def read_steps(path: Path) -> list[Step]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [Step(**line) for line in lines if "step_s" in line]


class _Running:
    """A loop's process tree: of these processes only those of the loop whose turn it is run."""

    def __init__(self, loop: Loop, process: subprocess.Popen[bytes], log: Path) -> None:
        self._loop, self._process, self._log = loop, process, log
        self.ended = False

    def wait(self) -> None:
        """Until its turn is over, or it has ended."""
        while (code := self._process.poll()) is None:
            leader = self._leader()
            if leader and leader.status() == psutil.STATUS_STOPPED:
                self._signal(signal.SIGSTOP)
                return
            time.sleep(_POLL_S)
        self.ended = True
        if code:
            raise Failed(f"{self._loop.name}: exit code {code}, see {self._log}")

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _leader(self) -> psutil.Process | None:
        """The process that counts the steps."""
        if not self._loop.steps.exists():
            return None
        first = self._loop.steps.read_text().partition("\n")[0]
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(json.loads(first)["pid"]) if first else None
        return None

    def _signal(self, number: int) -> None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._process.pid)
            for process in [*root.children(recursive=True), root]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


@contextmanager
def _started(loop: Loop, environment: Mapping[str, str]) -> Iterator[_Running]:
    loop.steps.unlink(missing_ok=True)
    log = loop.steps.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            loop.command, env={**os.environ, **environment}, stdout=output, stderr=output, cwd=loop.steps.parent
        )
    running = _Running(loop, process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.kill()
