"""One engine as a process tree of its own: wall seconds, CPU seconds and memory, whatever it starts.

    python benchmarks/measure.py CORES COMMAND...        prints one line of JSON; the command's stdout goes to stderr

The measuring process adopts what its command leaves behind (a JVM, say) and waits for it, so CPU seconds are those of
all descendants, from the kernel. But for Spark's Python workers: `pyspark.daemon` does not wait for them, and the
kernel adds up nothing; their own counters are read every 0.2 s. Memory is read every 0.2 s: the sum of resident sizes
over the tree (pages that processes share count in each, which is to the disadvantage of the engine with more of them:
ours), and the high-water mark that the kernel keeps for each process. A Python worker of Spark is a process of
`pyspark.daemon`.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

SAMPLE_S = 0.2
_MIB = 1 << 20
_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass
class Measured:
    """Of one run; `last_line` is the last line that the command printed."""

    exit_code: int = 0
    wall_s: float = 0.0  # until the command itself ended
    cpu_s: float = 0.0
    peak_tree_mib: float = 0.0
    peak_process_mib: float = 0.0  # the largest process of all
    peak_worker_mib: float | None = None  # the largest Python worker of Spark, None where there was none
    last_line: str = ""


def measure(command: Sequence[str], num_cores: int, folder: Path, log: Path) -> Measured:
    """Run `command` in `folder` on `num_cores` cores; its output goes to the file `log`."""
    wrapped = [sys.executable, str(Path(__file__).resolve()), str(num_cores), *command]
    with log.open("w") as errors:
        answer = subprocess.run(wrapped, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, check=False)
    if answer.returncode:
        raise RuntimeError(f"measuring failed with exit code {answer.returncode}; see {log}")
    return Measured(**json.loads(answer.stdout))


def run(command: Sequence[str], num_cores: int) -> Measured:
    """Run `command` and wait for all that it starts; to be called in a process that has no other children."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])
    measured, workers = Measured(), dict[int, float]()
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        printed = b""
        while not _ended(child):
            workers |= _sample(measured)
            printed += child.stdout.read() or b""
        measured.wall_s = time.monotonic() - started
        printed += child.stdout.read() or b""
    measured.exit_code = child.returncode
    for adopted in _wait_for_the_rest():
        workers.pop(adopted, None)  # this one is in the kernel's sum
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured.cpu_s = used.ru_utime + used.ru_stime + sum(workers.values())
    measured.peak_process_mib = max(used.ru_maxrss / 1024, measured.peak_worker_mib or 0.0)
    text = printed.decode(errors="replace")
    sys.stderr.write(text)
    measured.last_line = text.strip().rpartition("\n")[2]
    return measured


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Has it ended within SAMPLE_S?"""
    try:
        child.wait(SAMPLE_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _sample(measured: Measured) -> dict[int, float]:
    """Raise the peaks of `measured` to what is there now; CPU seconds of Spark's Python workers so far, by process."""
    total, daemons, workers = 0, set[int](), dict[int, float]()
    for process in psutil.Process().children(recursive=True):
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            times, parent = process.cpu_times(), process.ppid()
        except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):  # it ended while we looked
            continue
        sizes = _sizes(status)
        total += sizes.get("VmRSS", 0)
        if b"pyspark.daemon" in command:
            daemons.add(process.pid)
        if parent in daemons:  # children come after their parents
            workers[process.pid] = times.user + times.system
            measured.peak_worker_mib = max(measured.peak_worker_mib or 0.0, sizes.get("VmHWM", 0) / _MIB)
    measured.peak_tree_mib = max(measured.peak_tree_mib, total / _MIB)
    return workers


def _sizes(status: str) -> dict[str, int]:
    """Bytes by name of the sizes in /proc/PID/status; a zombie has none."""
    fields = (line.split() for line in status.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in fields if words[0].startswith("Vm")}


def _wait_for_the_rest() -> list[int]:
    """The processes that were left, in the order in which they ended."""
    ended = []
    with suppress(ChildProcessError):  # there is none left
        while True:
            ended.append(os.wait()[0])
    return ended


def main(argv: Sequence[str]) -> None:
    measured: dict[str, Any] = asdict(run(argv[1:], int(argv[0])))
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
