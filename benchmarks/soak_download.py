"""A long download over many faults while executors are killed: does every rule hold?

The sample's server (five hosts on loopback addresses) serves good pictures and every kind of fault; a standalone
cluster of two workers fetches them; executors are killed at random. Checked: one row for each URL with the outcome it
deserves, how often each URL was asked for, host limits as the server saw them, and the memory of workers. Exit code 1
when something does not hold.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clusters import standalone
from measurements import ROOT, Goal
from soak_checks import check_limits, check_memory, check_requests, check_rows
from soak_plan import ADDRESSES, ATTEMPTS, BUSY, MAX_REDIRECTS, plan, write_pictures
from soak_watch import watched

from ml_images.sample.server import serve

_PART_ROWS = 500
_IN_FLIGHT = 128

_EXAMPLES = """examples:
  python benchmarks/soak_download.py
  python benchmarks/soak_download.py --urls 2000 --kills 1 --kill-every 10"""


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
        command = _command(folder / "urls.txt", output, args.requests_per_s, args.connections)
        with (
            standalone(folder / "cluster", 2) as master,
            (folder / "log").open("w") as log,
            watched(folder / "cluster", args.kills, args.kill_every) as seen,
        ):
            submit = ["spark-submit", "--master", master, *command]
            code = subprocess.run(submit, stdout=log, stderr=log, check=False, cwd=folder).returncode
        requests, port = server.log(), server.server_port
    took = time.monotonic() - started
    print(f"{len(urls):,} URLs, {len(requests.asked):,} requests, {len(seen.killed)} kills, {took:.0f} s")
    if code not in (0, 3):
        print(f"soak_download.py: the job ended with exit code {code}; see {folder / 'log'}", file=sys.stderr)
        return 1
    at_stake = _PART_ROWS + 2 * _IN_FLIGHT  # an executor runs one task
    goals = check_rows(urls, output / "images")
    goals += check_requests(urls, requests, len(seen.killed), at_stake)
    goals += check_limits(requests, port, args.requests_per_s, args.connections)
    goals += check_memory(seen)
    return _tell(goals)


def _command(urls: Path, output: Path, requests_per_s: float, connections: int) -> list[str]:
    # A kill takes the tasks of one executor with it; Spark gives up after four failures of a task, we do not.
    conf = {"spark.executor.memory": "600m", "spark.executor.cores": "1", "spark.task.maxFailures": "100"}
    conf |= {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    options = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    fetch = {"allow_private": "true", "connect_timeout_s": 3, "read_timeout_s": 2, "deadline_s": 20, "backoff_s": 0.2}
    fetch |= {"max_bytes": 12 << 20, "max_redirects": MAX_REDIRECTS, "attempts": ATTEMPTS}
    limits = {"requests_per_s": requests_per_s, "connections": connections, "breaker_failures": 0}
    given = [f"urls=[{urls}]", f"output={output}", "placeholder_keys=0", "max_loss=1", f"part.rows={_PART_ROWS}"]
    given += [f"download.fetch.{name}={value}" for name, value in fetch.items()]
    given += [f"download.politeness.{name}={value}" for name, value in limits.items()]
    given += [f"download.in_flight={_IN_FLIGHT}"]
    return [*options, str(ROOT / "jobs" / "download.py"), *given]


def _tell(goals: Sequence[Goal]) -> int:
    for goal in goals:
        print(f"{'yes' if goal.met else 'NO ':<4}{goal.what}: {goal.found}")
    return 0 if all(goal.met for goal in goals) else 1


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--urls", type=int, default=100_000, help="(default %(default)s)")
    parser.add_argument("--faults", type=float, default=0.2, help="share of URLs with a fault (default %(default)s)")
    parser.add_argument("--kills", type=int, default=6, help="executors killed in all (default %(default)s)")
    parser.add_argument(
        "--kill-every", type=float, default=40.0, help="seconds between two kills, on average (default %(default)s)"
    )
    told = "limit of each host, in a second (default %(default)s)"
    parser.add_argument("--requests-per-s", type=float, default=150.0, help=told)
    parser.add_argument("--connections", type=int, default=16, help="limit of each host (default %(default)s)")
    told = "pictures, table and logs (default %(default)s)"
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "soak", help=told)
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
