"""A standalone cluster of Spark on this machine while a block of code runs; its nodes can lose their power."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SCRIPT = Path(__file__).parents[1] / "cluster" / "standalone.sh"


@contextmanager
def standalone(folder: Path, workers: int) -> Iterator[str]:
    """The URL of its master; logs in `folder`."""
    started = subprocess.run([_SCRIPT, "start", folder, str(workers)], check=True, stdout=subprocess.PIPE, text=True)
    try:
        yield started.stdout.strip()
    finally:
        subprocess.run([_SCRIPT, "stop", folder], check=True)


def give_each_a_core(folder: Path) -> set[int]:
    """Keep each worker of the cluster in `folder` on a core of its own, with its executor, Python and all that they
    start; returns the cores. Without it one worker's JVM compiles on a core that two workers do not leave free."""
    workers = sorted(folder.glob("worker*.pid"))
    cores = sorted(os.sched_getaffinity(0))[: len(workers)]
    for worker, core in zip(workers, cores, strict=True):
        keep_on(int(worker.read_text()), {core})
    return set(cores)


def keep_on(process: int, cores: set[int]) -> None:
    """Keep a process, and all that it starts from now on, on these cores."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def processes_below(folder: Path) -> list[psutil.Process]:
    """All processes that work in `folder`, whoever their parents are: executors, Python workers, decoders."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked, or is not ours
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@dataclass(eq=False)
class Node:
    """A worker node that was turned off, and what an operator types to start its worker again."""

    file: Path  # that holds the id of its process
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def turn_on(self) -> None:
        with self.file.with_suffix(".log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.file.write_text(f"{self.process.pid}\n")


def turn_off(folder: Path, number: int) -> Node:
    """Kill a node of the cluster in `folder`, counted from 1, and all that runs there."""
    file = folder / f"worker{number}.pid"
    worker = psutil.Process(int(file.read_text()))
    node = Node(file, worker.cmdline(), worker.environ())
    for process in (worker, *processes_below(folder / f"work{number}")):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return node
