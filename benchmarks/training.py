"""Training ResNet-101 on two cores: beside torchvision's reference loop, beside torch's DDP, and beside a bare step.

All in turns of a few steps, in which only one loop's processes run. The report goes to
benchmarks/results/training-DATE.md, .json and .png.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from annotations import _some_of
from arguments import add_places
from bench import ENGINES, Failed
from machine import describe_machine
from training_report import ALONE, BARE, DDP, FP32, HOROVOD, PEER, draw, to_markdown
from training_sets import CLASSES, TrainingSets, training_sets
from training_turns import Loop, take_turns

_BIN = Path(sys.executable).parent
_LR = 0.005  # for 256 pictures, as in conf/train/pretrain.yaml
_FAST = ("engine.precision=bf16", "engine.channels_last=true")
_PACKAGES = ("torch", "torchvision", "pillow", "turbojpeg", "horovod")

_EXAMPLES = """examples:
  python benchmarks/training.py --photos ../shared/data/photos
  python benchmarks/training.py --photos PHOTOS --only ranks

A quarter of an hour on two cores, and 12 GB of memory. Each part is kept in --folder and not measured again; to begin
anew, remove the folder. Exit code 1 when a loop fails. A goal that is missed is told in the table."""


@dataclass(frozen=True)
class Sizes:
    """Of a comparison, on each rank; the first `warm` steps do not count."""

    batch: int
    steps: int
    warm: int
    turn: int
    ranks: int = 1


@dataclass(frozen=True)
class Bench:
    photos: Path
    folder: Path
    cores: int

    def alone(self) -> dict[str, Any]:
        sizes, lr = SIZES["alone"], _LR * SIZES["alone"].batch / 256
        pictures = self._sets(sizes).folder
        peer = [ENGINES / "train_torchvision.py", *self._turns(PEER, sizes), pictures, sizes.batch, lr, CLASSES]
        return self._in_turns(
            "alone",
            {
                PEER: [sys.executable, *peer],
                ALONE: [sys.executable, *self._ours(ALONE, sizes, *_FAST)],
                FP32: [sys.executable, *self._ours(FP32, sizes)],
            },
        )

    def ranks(self) -> dict[str, Any]:
        sizes, lr = SIZES["ranks"], _LR * SIZES["ranks"].batch * SIZES["ranks"].ranks / 256
        private = ["unshare", "-rn", "bash", "-c", 'ip link set lo up; exec "$@"', "private"]
        allowed = shutil.which("unshare") and subprocess.run([*private, "true"], check=False).returncode == 0
        before = private if allowed else []  # Horovod's rendezvous listens on all addresses
        torchrun = [*before, _BIN / "torchrun", "--standalone", "--nproc-per-node", sizes.ranks]
        patient = ["--gloo-timeout-seconds", 3600]  # in a pause nobody answers for longer than the usual 30 s
        places = ["-np", sizes.ranks, "-H", f"localhost:{sizes.ranks}"]
        horovodrun = [*before, _BIN / "horovodrun", "--gloo", *patient, *places, sys.executable]
        bare = [ENGINES / "train_ddp.py", *self._turns(DDP, sizes), sizes.steps, sizes.batch, lr, CLASSES]
        return self._in_turns(
            "ranks",
            {
                HOROVOD: [*horovodrun, *self._ours(HOROVOD, sizes, *_FAST)],
                DDP: [*torchrun, *bare],
            },
        )

    def overhead(self) -> dict[str, Any]:
        sizes = SIZES["overhead"]
        steps, log = self._steps(BARE), self._steps(BARE).with_suffix(".log")
        options = self._options(BARE, sizes, *_FAST)
        command = [ENGINES / "train_overhead.py", steps, sizes.warm, sizes.batch, CLASSES, *options]
        with log.open("w") as output:
            ended = subprocess.run([sys.executable, *map(str, command)], stdout=output, stderr=output, check=False)
        if ended.returncode:
            raise Failed(f"overhead: exit code {ended.returncode}, see {log}")
        return {"pairs": [json.loads(line) for line in steps.read_text().splitlines()]}

    def _sets(self, sizes: Sizes) -> TrainingSets:
        """With rows for just these steps in an epoch."""
        return training_sets(self.photos, self.folder, sizes.batch * sizes.ranks * sizes.steps)

    def _ours(self, name: str, sizes: Sizes, *options: str) -> list[object]:
        turns, told = self._turns(name, sizes), self._options(name, sizes, *options)
        return [ENGINES / "train_ours.py", *turns, *told]

    def _options(self, name: str, sizes: Sizes, *options: str) -> list[str]:
        """Of train.py: what torchvision's reference does, on our data set, and `options`."""
        output = self.folder / f"run-{_word(name)}"
        shutil.rmtree(output, ignore_errors=True)
        return [
            f"data.path={self._sets(sizes).dataset}",
            f"output={output}",
            f"data.batch_size={sizes.batch}",
            "data.decode_threads=1",
            "epochs=1",
            "model.name=resnet101",
            f"optim.lr={_LR}",
            "optim.bias_decay=1",
            "optim.norm_decay=1",
            "schedule.name=steps",
            "schedule.warmup_epochs=0",
            *options,
        ]

    def _turns(self, name: str, sizes: Sizes) -> list[object]:
        return [self._steps(name), sizes.warm, sizes.turn]

    def _steps(self, name: str) -> Path:
        return self.folder / f"steps-{_word(name)}.jsonl"

    def _in_turns(self, part: str, commands: Mapping[str, Sequence[object]]) -> dict[str, Any]:
        loops = [Loop(name, [*map(str, command)], self._steps(name)) for name, command in commands.items()]
        environment = {"PATH": f"{_BIN}:{os.environ['PATH']}", "GLOO_SOCKET_IFNAME": "lo", "PYTHONWARNINGS": "ignore"}
        environment |= {"OMP_NUM_THREADS": str(self.cores if part == "alone" else 1)}
        taken = take_turns(loops, environment)
        return {name: list(map(asdict, steps)) for name, steps in taken.items()}


SIZES = {
    "alone": Sizes(batch=16, steps=43, warm=3, turn=4),
    "ranks": Sizes(batch=8, steps=26, warm=2, turn=3, ranks=2),
    "overhead": Sizes(batch=16, steps=32, warm=2, turn=1),
}
PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "alone": Bench.alone,
    "ranks": Bench.ranks,
    "overhead": Bench.overhead,
}


def main(argv: Sequence[str]) -> int:
    args = _parser().parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    machine = describe_machine(args.cores)
    machine["training"] = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    bench = Bench(args.photos, folder, args.cores)
    try:
        for name in args.only:
            _measure(name, bench)
    except Failed as error:
        print(f"training.py: {error}", file=sys.stderr)
        return 1
    parts = {name: json.loads(_kept(folder, name).read_text()) for name in PARTS if _kept(folder, name).exists()}
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    args.results.mkdir(parents=True, exist_ok=True)
    place = args.results / f"training-{day}"
    sizes = {name: asdict(each) for name, each in SIZES.items()}
    text = to_markdown(parts, sizes, machine, day)
    place.with_suffix(".md").write_text(text)
    content = {"day": day, "machine": machine, "sizes": sizes, "parts": parts}
    place.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    if "alone" in parts:
        draw(parts["alone"]).savefig(place.with_suffix(".png"), dpi=110, metadata={"Software": None})
    print(text)
    return 0


def _measure(name: str, bench: Bench) -> None:
    kept = _kept(bench.folder, name)
    if kept.exists():
        print(f"{name}: measured before, see {kept}", file=sys.stderr, flush=True)
        return
    print(f"{name}: {SIZES[name]}", file=sys.stderr, flush=True)
    half = kept.with_suffix(".part")
    half.write_text(json.dumps(PARTS[name](bench)))
    half.rename(kept)


def _kept(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _word(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=_EXAMPLES, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of JPEG photos and their list.txt")
    parser.add_argument("--cores", type=int, default=2, help="cores for every loop (default %(default)s)")
    told = f"some of {','.join(PARTS)} (default: all)"
    parser.add_argument("--only", type=_some_of(PARTS), default=list(PARTS), help=told)
    add_places(parser, "benchmark-training", "sets, steps and logs")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
