"""A long download over many faults while its processes are killed: does every rule hold?

The sample's server (five hosts on loopback addresses) serves good pictures and every kind of fault; a standalone
cluster of two workers fetches them. At random a Python worker, a decoder, an executor or a whole node is killed (the
node comes back), and at set moments the driver (the same command is run again). Checked: one row for each URL with the
outcome it deserves, what is left behind, how often each URL was asked for, host limits as the server saw them, and the
memory of all processes, which is drawn, too. In the last part nothing is killed, so that lives are long enough to see
growth. Exit code 1 when something does not hold.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from clusters import processes_below, standalone
from measurements import ROOT, Goal
from soak_checks import check_files, check_limits, check_requests, check_rows
from soak_memory import check_memory, draw, write_samples
from soak_plan import ADDRESSES, ATTEMPTS, BUSY, MAX_REDIRECTS, plan, write_pictures
from soak_watch import KINDS, Kill, Seen, watched

from ml_images.sample.server import serve

_NODES = 2
_QUIET = 0.6  # share of the requests after which nothing is killed any more
_MOST_RUNS = 3  # of a job that gives up
_ENDED_S = 10.0  # for processes of the cluster, after it was stopped

_EXAMPLES = """examples:
  python benchmarks/soak_download.py
  python benchmarks/soak_download.py --urls 2000 --kills 4 --kill-every 10"""


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    folder = args.folder.resolve()
    output = folder / f"out-{os.getpid()}"
    names = write_pictures(folder / "pictures")
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ |= {"SPARK_CONF_DIR": str(ROOT / "cluster" / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}
    os.environ["PYSPARK_PYTHON"] = sys.executable
    started = time.monotonic()
    with serve(folder / "pictures", addresses=(*ADDRESSES, BUSY)) as server:
        urls = plan(args.urls, args.faults, server.server_port, names)
        (folder / "urls.txt").write_text("".join(f"{url.url}\n" for url in urls))

        def share() -> float:
            return len(server.log().asked) / len(urls)

        with (
            standalone(folder / "cluster", _NODES) as master,
            (folder / "log").open("w") as log,
            watched(
                folder / "cluster", _NODES, args.kinds, args.kills, args.kill_every, lambda: share() < _QUIET
            ) as seen,
        ):
            command = ["spark-submit", "--master", master, *_command(folder / "urls.txt", output, args)]
            codes = _run(command, log, share, args.driver_kills, seen)
        requests, port = server.log(), server.server_port
    took = time.monotonic() - started
    draw(seen.samples, seen.kills, folder / "memory.png")
    write_samples(seen.samples, seen.kills, folder / "memory.tsv")
    (folder / "requests.json").write_bytes(requests.to_json())
    print(f"{len(urls):,} URLs, {len(requests.asked):,} requests, {len(seen.kills)} kills, {took:.0f} s")
    if codes[-1] not in (0, 3):
        print(f"soak_download.py: the job ended with exit code {codes[-1]}; see {folder / 'log'}", file=sys.stderr)
        return 1
    gave_up = [code for code in codes[:-1] if code != -signal.SIGKILL]
    goals = [Goal("the job goes on by itself unless its driver is killed", f"exit codes {codes}", not gave_up)]
    goals += check_rows(urls, output / "images")
    goals += check_files(output / "images")
    goals += check_requests(urls, requests, seen.kills, args.part_rows + 2 * args.in_flight)
    goals += check_limits(requests, port, args.requests_per_s, args.connections, seen.stalls)
    goals += check_memory(seen.samples, requests.asked.max())
    goals += [_nothing_runs(folder / "cluster")]
    return _tell(goals)


def _run(command: list[str], log: TextIO, share: Callable[[], float], driver_kills: int, seen: Seen) -> list[int]:
    """Run the command until it has done its work, and kill it `driver_kills` times before; the exit codes."""
    codes = list[int]()
    kill_at = [_QUIET * (number + 1) / (driver_kills + 1) for number in range(driver_kills)]
    while not codes or (codes[-1] not in (0, 3) and len(codes) < driver_kills + _MOST_RUNS):
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(log.name).parent, start_new_session=True)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if kill_at and share() >= kill_at[0]:
                    os.killpg(process.pid, signal.SIGKILL)
                    seen.kills.append(Kill(time.monotonic(), "driver"))
                    del kill_at[0]
                    process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        codes.append(process.returncode)
    return codes


def _command(urls: Path, output: Path, args: argparse.Namespace) -> list[str]:
    # A kill takes the tasks of one executor with it; Spark gives up after four failures of a task, we do not.
    conf = {"spark.executor.memory": "600m", "spark.executor.cores": "1", "spark.task.maxFailures": "100"}
    conf |= {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    options = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    fetch = {"allow_private": "true", "connect_timeout_s": 3, "read_timeout_s": 2, "deadline_s": args.deadline_s}
    fetch |= {"backoff_s": 0.2, "max_bytes": 12 << 20, "max_redirects": MAX_REDIRECTS, "attempts": ATTEMPTS}
    limits = {"requests_per_s": args.requests_per_s, "connections": args.connections, "breaker_failures": 0}
    given = [f"urls=[{urls}]", f"output={output}", "placeholder_keys=0", "max_loss=1", f"part.rows={args.part_rows}"]
    given += [f"download.fetch.{name}={value}" for name, value in fetch.items()]
    given += [f"download.politeness.{name}={value}" for name, value in limits.items()]
    given += [f"download.in_flight={args.in_flight}"]
    return [*options, str(ROOT / "jobs" / "download.py"), *given]


def _nothing_runs(cluster: Path) -> Goal:
    until = time.monotonic() + _ENDED_S
    while (left := processes_below(cluster)) and time.monotonic() < until:
        time.sleep(0.2)
    told = ", ".join(f"{process.pid}" for process in left) or "none"
    return Goal(f"no process is left {_ENDED_S:.0f} s after the cluster was stopped", told, not left)


def _tell(goals: Sequence[Goal]) -> int:
    for goal in goals:
        print(f"{'yes' if goal.met else 'NO ':<4}{goal.what}: {goal.found}")
    return 0 if all(goal.met for goal in goals) else 1


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--urls", type=int, default=100_000, help="(default %(default)s)")
    parser.add_argument("--faults", type=float, default=0.2, help="share of URLs with a fault (default %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is killed (default: all)")
    told = "kills in all, of the kinds in turn (default %(default)s)"
    parser.add_argument("--kills", type=int, default=24, help=told)
    parser.add_argument(
        "--kill-every", type=float, default=15.0, help="seconds between two kills, on average (default %(default)s)"
    )
    parser.add_argument("--driver-kills", type=int, default=1, help="(default %(default)s)")
    told = "limit of each host, in a second (default %(default)s)"
    parser.add_argument("--requests-per-s", type=float, default=150.0, help=told)
    parser.add_argument("--connections", type=int, default=16, help="limit of each host (default %(default)s)")
    parser.add_argument("--deadline-s", type=float, default=20.0, help="of a URL (default %(default)s)")
    told = "rows of a part of the table (default %(default)s)"
    parser.add_argument("--part-rows", type=int, default=500, help=told)
    told = "requests under way in a worker (default %(default)s)"
    parser.add_argument("--in-flight", type=int, default=128, help=told)
    told = "pictures, table and logs (default %(default)s)"
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "soak", help=told)
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
