"""How long 6.9 million Flickr URLs take: hours against the limit of each host and the number of machines.

    python benchmarks/simulate_download.py [--urls 12000]

The library's scheduler, host limits and leases run in virtual time on a simulated web (simulated_web.py); only the
network, the decoder and the clock are made up, of these numbers:

- 16 host names, as in the lists (farm1 to farm9, c1 to c8 .staticflickr.com), with equal shares of the URLs, drawn
  at random.
- 18 % of the photos are gone (404 or 410, a probe of 2026), 1 % of the answers are 5xx, 0.2 % never come.
- The first byte comes after 0.05 s and then some, log-normal (median 0.12 s, one in a hundred later than 0.7 s); a body
  of 2 MB (the mean of Open Images' originals) takes 0.3 s more.
- A machine has 16 cores, which decode a 10-megapixel photo to short side 384 in 20 ms each (measured: 19.5 ms with
  simplejpeg and DCT scaling). It stands for its 16 workers: 16 times the decoders and requests under way.

A run with few URLs spends a larger share of its time on its first and last seconds; so the pace is taken from the
middle, between the first and the last tenth of the results.
"""

import argparse
import math
import resource
from dataclasses import dataclass
from random import Random

from simulated_web import Answer, Web, Worker, one_by_one

from ml_images.download.config import DownloadConfig, PolitenessConfig
from ml_images.download.host_limits import HostLimits
from ml_images.download.wanted import Candidate, Wanted

URLS = 6_902_811  # lines of the training list that are URLs
HOSTS = 16
CORES = 16
DECODE_S = 0.020
# Requests a second and connections, of one host; 0: no limit.
LIMITS = ((5.0, 16), (10.0, 16), (25.0, 16), (50.0, 16), (50.0, 64), (0.0, 0))
MACHINES = (1, 2, 4, 8)
MEAN_BYTES = 2_000_000
_BODY = b"\xff\xd8\xff" + bytes(61)  # as many bytes as the simulation needs to believe it


@dataclass(frozen=True)
class Run:
    images_per_s: float  # results of any kind
    busiest_second: int  # of any host
    most_open: int
    messages_per_s: float  # to the governor, of all machines
    cpu_us: float  # of this simulation, for each URL


def answer(url: str, visit: int) -> Answer:
    """The same for the same URL and visit."""
    if url.endswith("/robots.txt"):
        return Answer(404, head_s=0.1)
    chance = Random(f"{url} {visit}")
    head_s = 0.05 + chance.lognormvariate(math.log(0.07), 1.0)
    gone = Random(url).random()
    if gone < 0.18:
        return Answer(404 if gone < 0.14 else 410, head_s=head_s)
    trouble = chance.random()
    if trouble < 0.010:
        return Answer(500, head_s=head_s)
    if trouble < 0.012:
        return Answer(head_s=1e9)
    return Answer(body=_BODY, head_s=head_s, body_s=chance.uniform(0.1, 0.5))


def simulate(limit: float, connections: int, machines: int, num_urls: int) -> Run:
    """`num_urls` URLs from HOSTS hosts with these limits each, by so many machines."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    politeness = PolitenessConfig(requests_per_s=limit, connections=connections)
    # Bodies of 2 MB: 256 MiB a worker hold 128, of which those under way are 100.
    cfg = DownloadConfig(politeness=politeness, in_flight=100 * CORES)
    web, limits = Web(answer), HostLimits(politeness)
    hosts = Random(1)  # not in turn, as keys are dealt to workers
    wanted = [
        Wanted(str(number), (Candidate(f"https://farm{hosts.randrange(HOSTS)}.staticflickr.com/{number}_o.jpg"),))
        for number in range(num_urls)
    ]
    workers = [
        Worker(web, hand, cfg, limits, number=number, decode_s=DECODE_S / CORES)
        for number, hand in enumerate(one_by_one(wanted, machines))
    ]
    web.run(workers)
    done = sorted(one.fetched_at.timestamp() for worker in workers for one in worker.fetched)
    first, last = len(done) // 10, len(done) * 9 // 10
    return Run(
        images_per_s=(last - first) / (done[last] - done[first]),
        busiest_second=max(web.hosts_busiest_second().values()),
        most_open=max(web.most_open.values()),
        messages_per_s=sum(worker.gate.num_messages for worker in workers) / (done[last] - done[0]),
        cpu_us=(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before) / num_urls * 1e6,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", type=int, default=12_000, help="simulated for each cell of the table")
    num_urls = parser.parse_args().urls
    print(f"{URLS:,} URLs from {HOSTS} hosts, {num_urls:,} simulated a cell; hours (images a second)\n")
    print("| of one host: | " + " | ".join(f"{number} x {CORES} cores" for number in MACHINES) + " | busiest second |")
    print("|---|" + "---|" * (len(MACHINES) + 1))
    most_messages = 0.0
    for limit, connections in LIMITS:
        runs = [simulate(limit, connections, machines, num_urls) for machines in MACHINES]
        cells = " | ".join(f"{URLS / run.images_per_s / 3600:.1f} h ({run.images_per_s:,.0f})" for run in runs)
        name = f"{limit:g}/s, {connections} connections" if limit else "no limit"
        busiest = str(max(run.busiest_second for run in runs)) if limit else "-"
        print(f"| {name} | {cells} | {busiest} |", flush=True)
        most_messages = max(most_messages, *(run.messages_per_s for run in runs))
    print(f"\nmost messages a second to the governor: {most_messages:.0f}")


if __name__ == "__main__":
    main()
