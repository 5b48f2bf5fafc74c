"""What the download benchmark measures: which engines fetch which set, how outputs are compared, and the goals."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import ENGINES, Bench, Engine, Result, must_have_run
from clusters import give_each_a_core, keep_on, standalone
from compare_pictures import Likeness, compare_pictures
from measurements import Goal
from photo_sets import PhotoSet, write_list
from web_server import Served

PEER = "img2dataset"
PEER_VERSION = "1.47.0"
LOOP = "memory loop"
QUALITY = 90
FEW = 16  # URLs of the runs that show what starting costs
STAGES = "milliseconds by stage"  # report.json of ours, below counts: CPU time of all workers for fetch, decode, ...


@dataclass(frozen=True)
class Measurement:
    """One table of the report. Its first result is ours."""

    title: str
    note: str
    results: list[Result]
    starting_cpu_s: Mapping[str, float]  # of each engine over FEW URLs
    goals: list[Goal]
    stages: Mapping[str, int] = field(default_factory=dict)
    likeness: Likeness | None = None


@dataclass(frozen=True)
class Sizes:
    """URLs of each measurement, by default so many that the slowest engine works for one to four minutes."""

    http: int = 100_000
    https: int = 4_000
    large: int = 3_000
    workers: int = 60_000


@dataclass(frozen=True)
class Fetching:
    bench: Bench
    served: Served
    photos: PhotoSet
    large: Callable[[], PhotoSet]  # made when they are needed
    sizes: Sizes
    threads: int

    def plain(self) -> Measurement:
        goals = (1.4, "the photos as they are, http: at least 1.4x img2dataset")
        return self._measure("http", self.served.http, self.photos, self.sizes.http, 256, goals)

    def tls(self) -> Measurement:
        goals = (4.0, "the same over TLS: at least 4x img2dataset")
        return self._measure("https", self.served.https, self.photos, self.sizes.https, 256, goals)

    def ten_megapixels(self) -> Measurement:
        goals = (3.0, "10-megapixel originals to short side 384: at least 3x img2dataset")
        return self._measure("large", self.served.http, self.large(), self.sizes.large, 384, goals)

    def workers(self) -> Measurement:
        """Standalone workers of one core each: one that shares its core with all that it needs, one, and two."""
        rows = self.sizes.workers
        given = self._list("workers", self.served.http, self.photos, rows)
        alike, one, two = results = [Result(name, rows) for name in ("1 worker on 1 core", "1 worker", "2 workers")]
        cluster = self.bench.folder / "standalone"
        everywhere = os.sched_getaffinity(0)
        for number in range(self.bench.repeats):
            for result in results:
                bench = replace(self.bench, cores=1) if result is alike else self.bench
                with standalone(cluster, 2 if result is two else 1) as master:
                    own = give_each_a_core(cluster)
                    shared = own if result is alike else everywhere
                    keep_on(self.served.process, shared)
                    keep_on(int((cluster / "master.pid").read_text()), shared)
                    engine = self._ours(result.engine, given, rows, 256, master)
                    output = bench.output("workers", engine)
                    bench.run(f"workers {number + 1}/{bench.repeats}", engine, output, result)
                    keep_on(self.served.process, everywhere)
                    must_have_run(result)
                    shutil.rmtree(output, ignore_errors=True)
        loops = self._loops(rows // 4)
        gain, beside_idle = alike.work_s / two.work_s, one.work_s / two.work_s
        bare = loops[0].work_s / loops[1].work_s
        what = "two standalone workers of one core each: at least 1.8x one"
        found = f"{gain:.2f}x one core for all (a bare loop gains {bare:.2f}x by the second core of this machine); \
{beside_idle:.2f}x one worker that has a second core for the server"
        note = f"""{rows:,} URLs, a standalone cluster on loopback; each worker, its executor, Python and decoder are \
kept on a core of their own. Server, driver and master run on the same machine: two workers give them a part of both \
cores, "1 worker on 1 core" a part of the only one, and beside "1 worker" they have the other core to themselves. The \
goal, twice the cores beside once, is judged by the first. The loops show what a second core of this machine gives at \
most, as cores share clock, cache and memory. CPU and memory of workers are the driver's."""
        return Measurement("workers", note, results + loops, {}, [Goal(what, found, gain >= 1.8)])

    def _loops(self, rows: int) -> list[Result]:
        """A loop over bytes in memory on one core, and two of them on two."""
        results = list[Result]()
        for cores in (1, 2):
            bench = replace(self.bench, cores=cores)
            command = bench.peer("memory_loop.py", self.photos.folder, rows, 256, QUALITY, cores)
            engine = Engine(f"{LOOP} on {cores} of the cores", lambda _, command=command: command, rows)
            results += bench.rounds("workers", [engine])
        return results

    def _measure(
        self, title: str, base: str, photos: PhotoSet, rows: int, side: int, wanted: tuple[float, str]
    ) -> Measurement:
        bench, likenesses, stages = self.bench, list[Likeness](), dict[str, int]()
        full, few = (self._engines(title, base, photos, count, side) for count in (rows, FEW))
        ours = next((bench.output(title, engine) for engine in full if engine.name == "ours"), None)

        def check(engine: Engine, output: Path) -> None:
            if engine.name == "ours":
                stages.update(_stages(output))
            if engine.name == PEER and ours:
                likenesses.append(compare_pictures(str(ours / "images"), str(output)))

        starts = replace(bench, repeats=1).rounds(f"{title} start", few)
        results = bench.rounds(title, full, check)
        shutil.rmtree(bench.output(title, full[0]), ignore_errors=True)
        factor, what = wanted
        goals = _at_least(results, PEER, factor, what)
        if title == "http":
            goals += _at_least(results, LOOP, 0.8, "within 20 % of the images/s of a loop over bytes in memory")
        note = f"{rows:,} URLs of {len(photos.names)} pictures of {photos.mean_bytes / 1000:,.0f} KB on average \
({photos.left_out} left out: not RGB JPEG, or turned by EXIF) to short side {side}, JPEG of quality {QUALITY}."
        starting = {result.engine: result.runs[0].measured.cpu_s for result in starts if result.runs}
        return Measurement(title, note, results, starting, goals, stages, likenesses[-1] if likenesses else None)

    def _engines(self, title: str, base: str, photos: PhotoSet, rows: int, side: int) -> list[Engine]:
        folder = self._list(f"{title}-{rows}", base, photos, rows)
        peer = [peer_python(self.bench.folder), str(ENGINES / "img2dataset_download.py"), str(folder / "urls.parquet")]
        told = [str(side), str(QUALITY), str(self.bench.cores), str(self.threads)]
        engines = [
            self._ours("ours", folder, rows, side),
            Engine(PEER, lambda output: [*peer, str(output), *told], rows),
        ]
        if title != "https":  # bytes in memory came by no protocol
            loop = ("memory_loop.py", photos.folder, rows, side, QUALITY, self.bench.cores)
            engines.append(Engine(LOOP, lambda _: self.bench.peer(*loop), rows))
        # Without ours there is nothing to be fast beside, but the peers alone can be looked at.
        return [engine for engine in engines if not self.bench.engines or engine.name in self.bench.engines]

    def _ours(self, name: str, folder: Path, rows: int, side: int, master: str = "") -> Engine:
        given = [f"urls=[{folder / 'urls.txt'}]", "placeholder_keys=0", "max_loss=0"]
        given += ["download.fetch.allow_private=true", f"download.fetch.ca_file={self.served.authorities}"]
        given += ["download.politeness.requests_per_s=0", "download.politeness.connections=0"]
        given += [f"download.image.short_side={side}", f"download.image.quality={QUALITY}"]
        given += ["download.image.icc=drop"]  # the peer leaves colours as they are
        return Engine(
            name, lambda output: self.bench.ours("download", *given, f"output={output}", master=master), rows, "images"
        )

    def _list(self, name: str, base: str, photos: PhotoSet, rows: int) -> Path:
        folder = self.bench.folder / "lists" / name
        write_list([base + path for path in photos.paths(rows)], folder)
        return folder


MEASUREMENTS: dict[str, Callable[[Fetching], Measurement]] = {
    "http": Fetching.plain,
    "https": Fetching.tls,
    "large": Fetching.ten_megapixels,
    "workers": Fetching.workers,
}


def peer_python(folder: Path) -> str:
    """The Python of an environment with the peer in it, made by pip below `folder` where it is not there yet."""
    environment = folder / PEER
    python = environment / "bin" / "python"
    if not (environment / "bin" / PEER).exists():
        print(f"installing {PEER} {PEER_VERSION} into {environment}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"{PEER}=={PEER_VERSION}"], check=True)
    return str(python)


def _at_least(results: list[Result], peer: str, factor: float, what: str) -> list[Goal]:
    """The goal that `peer` needs at least `factor` times as long as ours; by work, without any start."""
    by_name = {result.engine: result for result in results if result.runs}
    if not {"ours", peer} <= by_name.keys():
        return []
    ratio = by_name[peer].work_s / by_name["ours"].work_s
    return [Goal(what, f"{ratio:.2f}x", ratio >= factor)]


def _stages(output: Path) -> dict[str, int]:
    report = json.loads((output / "report.json").read_text())
    return dict(report["counts"].get(STAGES, {}))
