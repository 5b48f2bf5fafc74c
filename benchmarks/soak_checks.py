"""Whether a soak went well: rows, requests, limits and memory, each with what was found."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from measurements import Goal
from soak_plan import ADDRESSES, Url
from soak_watch import Seen

from ml_images.sample.request_log import Log

_MORE = 1.05
_GROWTH = 1.15
_SLACK_MIB = 64  # buffers that a short run is still filling
_LATE = 0.001  # share of rows that may have run into a deadline of a loaded machine


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


def check_requests(urls: Sequence[Url], log: Log, kills: int, at_stake: int) -> list[Goal]:
    """`at_stake`: rows that a killed executor may have had under way or not yet written."""
    counts = log.counts()
    excess, worst, kind = 0, 0.0, ""
    for url in urls:
        parts = urlsplit(url.url)
        count = counts[(parts.netloc, parts.path)]
        excess += count > url.most_requests
        worst, kind = max((worst, kind), (count / url.most_requests, url.kind))
    met = excess <= kills * at_stake and worst <= 1 + kills
    told = (
        f"{excess:,} URLs more often, after {kills} kills of at most {at_stake:,} rows; at most {worst:.1f}x ({kind})"
    )
    return [Goal("no URL is fetched more often than its retry policy allows, but for what a kill lost", told, met)]


def check_limits(log: Log, port: int, requests_per_s: float, connections: int) -> list[Goal]:
    hosts = [f"{address}:{port}" for address in ADDRESSES]
    rates, under_way, opened = (
        [most(host) for host in hosts] for most in (log.most_in_a_second, log.most_under_way, log.most_connections)
    )
    return [
        Goal(
            f"a host gets at most {requests_per_s:g} requests in any second (5 % more)",
            ", ".join(map(str, rates)),
            max(rates) <= _MORE * requests_per_s + 1,
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


def check_memory(seen: Seen) -> list[Goal]:
    middle, late = seen.largest(1 / 3, 2 / 3), seen.largest(2 / 3, 1)
    told = f"largest Python worker {middle:,.0f} MiB in the second third, {late:,.0f} MiB in the last"
    return [Goal("memory is flat (15 % and 64 MiB)", told, late <= _GROWTH * middle + _SLACK_MIB)]
