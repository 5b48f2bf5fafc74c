"""Whether a soak went well: rows, files, requests and limits, each with what was found."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow.parquet as pq
from measurements import Goal
from soak_plan import ADDRESSES, Url
from soak_watch import Kill, Stall

from ml_images.outcomes import RETRYABLE
from ml_images.sample.request_log import Log

_MORE = 1.05
_TURN_S = 0.005  # of the server's loop, which may see a beginning before an end that came earlier
_LATE = 0.001  # share of rows that may have run into a deadline of a loaded machine
# Seconds after a kill within which what belongs to the dead one may still arrive, and its successor does not begin.
_LINGERS_S = {"Python worker": 0.3, "executor": 1.0, "node": 0.3, "driver": 1.0}
_TASKS = {"Python worker": 1, "decoder": 0, "executor": 1, "node": 1, "driver": 2}  # that a kill loses
_BESIDE = ("_SUCCESS", "_ml_images.json", "_looked_through.json", "_options.json", "_lock", "_staging")


def check_rows(urls: Sequence[Url], images: Path) -> list[Goal]:
    rows = pq.read_table(images, columns=["key", "outcome"]).to_pylist()
    wanted = {url.url: url.outcome for url in urls}
    kinds = {url.url: url.kind or "a good picture" for url in urls}
    counts = Counter(row["key"] for row in rows)
    once = counts == dict.fromkeys(wanted, 1)
    other = Counter(
        f"{kinds.get(row['key'])} became {row['outcome']}" for row in rows if wanted.get(row["key"]) != row["outcome"]
    )
    told = "; ".join(f"{what}: {count}" for what, count in other.most_common(12)) or "all"
    return [
        Goal("rows in = rows out, one row a key", f"{len(wanted):,} in, {len(rows):,} out, {len(counts):,} keys", once),
        Goal("every outcome is the one that the URL deserves", told, other.total() <= _LATE * len(wanted)),
    ]


def check_files(images: Path) -> list[Goal]:
    names = [str(path.relative_to(images)) for path in images.rglob("*")]
    others = [name for name in names if name not in _BESIDE and not name.endswith(".parquet")]
    staged = [name for name in names if name.startswith("_staging/")]
    told = ", ".join([*others, *staged][:5]) or "none"
    return [Goal("no file is left that is no part of the table", told, not (others or staged))]


def check_requests(urls: Sequence[Url], log: Log, kills: Sequence[Kill], rows_of_task: int) -> list[Goal]:
    """`rows_of_task`: what a task may have had under way or not yet written when it was killed."""
    requests = _times(log)
    losing = [kill for kill in kills if _TASKS[kill.kind]]
    ends = np.sort([kill.second + _LINGERS_S[kill.kind] for kill in losing])
    runs = 1 + sum(kill.kind == "driver" for kill in kills)
    again, unexplained = 0, list[str]()
    for url in urls:
        parts = urlsplit(url.url)
        times = requests.get((parts.netloc, parts.path), np.empty(0))
        if len(times) <= url.most_requests:
            continue
        again += len(times) > url.most_requests * (runs if url.outcome in RETRYABLE else 1)
        if np.bincount(np.searchsorted(ends, times)).max() > url.most_requests:
            unexplained.append(f"{url.kind or 'a good picture'} at {np.round(times - log.asked.min(), 2).tolist()}")
    at_stake = rows_of_task * sum(_TASKS[kill.kind] for kill in kills)
    told = f"{len(unexplained):,} URLs" + "".join(f"; {one}" for one in unexplained[:5])
    return [
        Goal(
            "no URL is fetched more often than its retry policy allows, from one kill to the next",
            told,
            not unexplained,
        ),
        Goal(
            f"a kill costs no more than what was under way ({rows_of_task:,} rows a task)",
            f"{again:,} URLs fetched again after {_told(kills)}: at most {at_stake:,}",
            again <= at_stake,
        ),
    ]


def check_limits(
    log: Log, port: int, requests_per_s: float, connections: int, stalls: Sequence[Stall] = ()
) -> list[Goal]:
    hosts = [f"{address}:{port}" for address in ADDRESSES]
    most = _MORE * requests_per_s + 1  # which was late by no fault of ours
    rates = [_rates(log.times(host), stalls) for host in hosts]
    told = ", ".join(str(int(counts.max(initial=0))) for counts, _ in rates)
    longer = max((float(seconds[counts > most].max(initial=1.0)) for counts, seconds in rates), default=1.0)
    if longer > 1:
        told += f", where the server stood still for up to {longer - 1:.2f} s before"
    settled = replace(log, closed=np.maximum(log.opened, log.closed - _TURN_S))
    under_way, opened = ([count(host) for host in hosts] for count in (log.most_under_way, settled.most_connections))
    return [
        Goal(
            f"a host gets at most {requests_per_s:g} requests in any second (5 % and one more)",
            told,
            all(bool(np.all(counts <= most * seconds)) for counts, seconds in rates),
        ),
        Goal(
            f"at most {connections} requests are under way at a host",
            ", ".join(map(str, under_way)),
            max(under_way) <= connections,
        ),
        Goal(
            f"at most {connections} connections to a host are open, idle ones included",
            ", ".join(map(str, opened)),
            max(opened) <= connections,
        ),
    ]


def _rates(times: np.ndarray, stalls: Sequence[Stall]) -> tuple[np.ndarray, np.ndarray]:
    """For each request how many the log has in the second that it ends, and in how many seconds they may have come: a
    server that stood still when that second began finds all at once what came in the meantime."""
    begins = times - 1
    counts = np.arange(len(times)) - np.searchsorted(times, begins, side="right") + 1
    seconds = np.ones(len(times))
    for stall in stalls:
        within = (begins > stall.start) & (begins <= stall.end)
        seconds[within] += begins[within] - stall.start
    return counts, seconds


def _times(log: Log) -> dict[tuple[str, str], np.ndarray]:
    """When each (host, path) was asked for, ascending."""
    order = np.lexsort((log.asked, log.path, log.host))
    host, path, asked = log.host[order], log.path[order], log.asked[order]
    cuts = np.flatnonzero((np.diff(host) != 0) | (np.diff(path) != 0)) + 1
    firsts = [0, *cuts.tolist()]
    names = [(log.hosts[host[first]], log.paths[path[first]]) for first in firsts]
    return dict(zip(names, np.split(asked, cuts), strict=True))


def _told(kills: Sequence[Kill]) -> str:
    return ", ".join(f"{kind} {count}x" for kind, count in Counter(kill.kind for kill in kills).items()) or "no kill"
