import csv
import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_images.images.config import ImageConfig
from ml_images.images.resize import Shrunk, shrink
from ml_images.images.shrinker import Refused, Shrinker, shared_shrinker

CFG = ImageConfig(short_side=32)
GOLDEN = Path(__file__).with_name("bad_images.tsv")


def png(seed: int, side: int = 60) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


def endless_jpeg(num_scans: int = 20_000) -> bytes:
    """A progressive JPEG of 64 megapixels in which one small scan comes again and again: minutes in 6 MB."""
    out = io.BytesIO()
    Image.new("L", (8000, 8000), 90).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * num_scans + data[-2:]


@pytest.fixture
def shrinker() -> Iterator[Shrinker]:
    with Shrinker(CFG) as shrinker:
        yield shrinker


def wait(shrinker: Shrinker, seconds: float = 60.0) -> list[tuple[int, Shrunk | Refused]]:
    """All that is pending, waiting on the descriptor alone."""
    poll, results, deadline = select.poll(), list[tuple[int, Shrunk | Refused]](), time.monotonic() + seconds
    poll.register(shrinker.fileno(), select.POLLIN)
    while shrinker.num_pending:
        assert poll.poll(1000 * max(0.0, deadline - time.monotonic())), "nothing for long"
        results += shrinker.collect()
    return results


def children() -> list[int]:
    """The decoders that this process has started and not reaped; another child of it may be a JVM."""
    started = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    return [int(pid) for pid in started if _is_decoder(Path("/proc", pid))]


def _is_decoder(process: Path) -> bool:
    """Also a zombie, which has no command line any more; the JVM of a Spark session is none."""
    command = process.joinpath("cmdline").read_bytes()
    return b"ml_images.images.decoder" in command or not command


def decoder() -> int:
    (pid,) = children()
    return pid


TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int:
    """CPU nanoseconds of a process, in whole ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_NS


def test_results_are_those_of_shrink_in_the_same_order(shrinker: Shrinker) -> None:
    pictures = [png(seed) for seed in range(5)]
    for token, data in enumerate(pictures):
        shrinker.submit(token, data)
    assert shrinker.num_pending == 5
    assert shrinker.bytes_pending == sum(map(len, pictures))
    assert wait(shrinker) == [(token, shrink(data, CFG)) for token, data in enumerate(pictures)]
    assert (shrinker.num_pending, shrinker.bytes_pending) == (0, 0)


def test_refusals_carry_outcome_and_detail(shrinker: Shrinker) -> None:
    for token, data in ((3, b""), (1, b"<html>"), (2, png(0)[:100])):
        shrinker.submit(token, data)
    results = wait(shrinker)
    assert [(token, result.outcome) for token, result in results if isinstance(result, Refused)] == [
        (3, "not_an_image"),
        (1, "not_an_image"),
        (2, "undecodable"),
    ]
    assert all(result.detail for _, result in results if isinstance(result, Refused))


def test_the_decoders_cpu_time_comes_with_its_answers(shrinker: Shrinker) -> None:
    shrinker.submit(0, png(0))
    wait(shrinker)
    started = cpu_ns(decoder())
    shrinker.take_cpu_time()
    for token in range(20):
        shrinker.submit(token, png(token, 700))
    wait(shrinker)
    spent, whole = shrinker.take_cpu_time(), cpu_ns(decoder()) - started
    assert {stage for stage, nanoseconds in spent.items() if nanoseconds} == {
        "fetch",
        "decode",
        "resize",
        "hash",
        "encode",
    }
    assert 0.9 * whole - 2 * TICK_NS < sum(spent.values()) < whole + 2 * TICK_NS
    assert not any(shrinker.take_cpu_time().values())
    half = png(0, 700)[:700_000]  # of 1.5 MB
    shrinker.submit(0, half)
    assert isinstance(wait(shrinker)[0][1], Refused)
    refused = shrinker.take_cpu_time()
    assert refused["decode"] > spent["decode"] / 20 / 10 and refused["encode"] == 0


def test_rotation_and_original_reach_the_decoder() -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 40)).save(out, "JPEG")
    with Shrinker(ImageConfig(short_side="original")) as shrinker:
        shrinker.submit(7, out.getvalue(), 90)
        ((_, kept),) = wait(shrinker)
    assert isinstance(kept, Shrunk)
    assert kept.data == out.getvalue()
    assert (kept.width, kept.height, kept.original_width, kept.original_height) == (60, 40, 40, 60)


def test_a_large_queue_passes_through_a_small_socket(shrinker: Shrinker) -> None:
    """Neither side waits for the other while both have more to say than the socket holds."""
    data = png(1, 700)  # 1.5 MB
    started = time.monotonic()
    for token in range(12):
        shrinker.submit(token, data)
    assert time.monotonic() - started < 1.0
    assert [token for token, _ in wait(shrinker)] == list(range(12))


def test_a_killed_decoder_costs_nothing(shrinker: Shrinker) -> None:
    descriptor, seen = shrinker.fileno(), []
    for token in range(30):
        shrinker.submit(token, png(token, 200))
    for _ in range(2):
        seen += collect_some(shrinker)
        os.kill(decoder(), signal.SIGKILL)
    seen += wait(shrinker)
    assert seen == [(token, shrink(png(token, 200), CFG)) for token in range(30)]
    assert shrinker.fileno() == descriptor


def collect_some(shrinker: Shrinker) -> Sequence[tuple[int, Shrunk | Refused]]:
    while not (some := shrinker.collect()):
        time.sleep(0.01)
    return some


def test_a_decoder_killed_while_idle_is_replaced(shrinker: Shrinker) -> None:
    shrinker.submit(0, png(0))
    wait(shrinker)
    os.kill(decoder(), signal.SIGKILL)
    time.sleep(0.1)
    shrinker.submit(1, png(1))
    assert [token for token, _ in wait(shrinker)] == [1]
    assert shrinker.collect() == []


def test_only_the_picture_that_takes_for_ever_is_refused() -> None:
    with Shrinker(ImageConfig(short_side=32, decode_timeout_s=1.0)) as shrinker:
        for token in range(6):
            shrinker.submit(token, endless_jpeg() if token == 3 else png(token))
        results = dict(wait(shrinker))
    assert results.pop(3) == Refused("decoder_died", "took more than 1 s")
    assert results == {token: shrink(png(token), CFG) for token in (0, 1, 2, 4, 5)}


def test_two_first_ones_on_a_machine_compile_their_loops_beside_each_other_and_outside_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))  # compiling takes more than a second
    cfg = ImageConfig(short_side=32, decode_timeout_s=0.3)
    with Shrinker(cfg) as first, Shrinker(cfg) as second:
        first.submit(0, png(0))
        second.submit(0, png(0))
        assert wait(first) == wait(second) == [(0, shrink(png(0), cfg))]
    assert list(tmp_path.rglob("*.nbc"))


def test_what_needs_more_memory_than_the_limit_is_refused() -> None:
    cfg = ImageConfig(short_side=32, max_pixels=1_000_000)
    with Shrinker(cfg) as shrinker:
        shrinker.submit(0, bytes(700 << 20))
        shrinker.submit(1, png(1))
        results = dict(wait(shrinker))
    assert results[0] == Refused("decoder_died", "out of memory")
    assert isinstance(results[1], Shrunk)


def test_a_bug_of_ours_is_raised_and_not_counted_as_a_broken_picture(shrinker: Shrinker) -> None:
    shrinker.submit(0, png(0), rotation=45)
    with pytest.raises(RuntimeError, match="KeyError: 45"):
        wait(shrinker)


def test_a_decoder_that_cannot_start_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Shrinker(CFG) as shrinker:
        shrinker.submit(0, png(0))
        with pytest.raises(RuntimeError, match=r"does not start \(exit code 1\)"):
            wait(shrinker)


def test_the_decoder_bounds_itself(shrinker: Shrinker) -> None:
    shrinker.submit(0, png(0))
    wait(shrinker)
    limits = Path(f"/proc/{decoder()}/limits").read_text()
    soft = {line[:25].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert soft["Max core file size"] == "0"
    assert 24 * CFG.max_pixels < int(soft["Max data size"]) < 25 * CFG.max_pixels + (1 << 30)


def test_closing_ends_the_decoder_and_leaves_no_zombie() -> None:
    shrinker = Shrinker(CFG)
    shrinker.submit(0, endless_jpeg())
    (pid,) = children()
    shrinker.close()
    shrinker.close()
    assert not Path(f"/proc/{pid}").exists()


def test_the_decoder_ends_with_its_master() -> None:
    code = """
import os, signal
from pathlib import Path
from ml_images.images.config import ImageConfig
from ml_images.images.shrinker import Shrinker
shrinker = Shrinker(ImageConfig())
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    master = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    orphan, deadline = Path(f"/proc/{int(master.stdout)}"), time.monotonic() + 20
    while _runs(orphan):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process: Path) -> bool:
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_shared_one_is_kept_while_it_serves() -> None:
    first = shared_shrinker(CFG)
    try:
        assert shared_shrinker(CFG) is first
        first.submit(0, png(0))  # and left there by a task that failed
        second = shared_shrinker(CFG)
        assert second is not first
        assert second.num_pending == 0
        assert shared_shrinker(ImageConfig(short_side=64)) is not second
    finally:
        shared_shrinker(CFG).close()
    assert children() == []


@pytest.mark.real_data
def test_odd_and_broken_files_end_as_written_down_twice(shared_data: Path) -> None:
    """Each of them by name, through one decoder of bounded memory. What differs from Pillow's own verdict, and why:

    heif: read by pillow-heif; a file of no bytes is no image. Icons (ico, ani) and the ISO media file with `idat` for
    a brand are no image formats that we read. l2rgb_read.bmp says 3158064x48 in its header, more than max_pixels.
    truncated_end_chunk.png ends within its last chunk.
    """
    pytest.importorskip("pillow_heif")
    with GOLDEN.open(newline="") as file:
        golden = {row["file"]: (row["outcome"], row["size"]) for row in csv.DictReader(file, delimiter="\t")}
    names = sorted(str(file.relative_to(shared_data / "bad-images")) for file in shared_data.glob("bad-images/*/*"))
    with Shrinker(ImageConfig(min_side=1)) as shrinker:
        for token, name in enumerate(names * 2):
            shrinker.submit(token, (shared_data / "bad-images" / name).read_bytes())
        results = [result for _, result in sorted(wait(shrinker), key=lambda pair: pair[0])]
        peak = Path(f"/proc/{decoder()}/status").read_text().partition("VmHWM:")[2].split()[0]
    assert results[: len(names)] == results[len(names) :]
    assert {name: told(result) for name, result in zip(names, results, strict=False)} == golden
    assert int(peak) < 600 * 1024  # KiB


def told(result: Shrunk | Refused) -> tuple[str, str]:
    if isinstance(result, Refused):
        return result.outcome, ""
    return "ok", f"{result.original_width}x{result.original_height}"
