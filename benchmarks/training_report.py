"""The training benchmark as a report: goals, tables and the loss curves."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure
from measurements import Goal

PEER = "torchvision's reference loop, fp32"
ALONE = "ours, bf16, channels-last"
FP32 = "ours, fp32"
HOROVOD = "ours, horovodrun"
DDP = "bare loop with torch's DDP"
BARE = "overhead"

Steps = Sequence[Mapping[str, Any]]  # training_turns.Step
LEAST_RATIO, MOST_SLOWER, MOST_OVERHEAD, MOST_WAITING = 1.8, 0.10, 0.03, 0.02
SMOOTHED, BAND = 5, 0.05  # steps whose mean loss is compared; how far the means may be apart

_METHOD = """ResNet-101 with 11,166 outputs at 224 pixels, sigmoid cross-entropy, SGD; JPEGs of short side 384 with \
the labels that ML-Images gave their classes. Loops live side by side and work in turns of a few steps, in which only \
one loop's processes run; quoted is the median step, of those behind the first, warm ones. Ours is `train.py` as it \
is, progress line, TensorBoard and history included, checkpoints left out."""

_ALONE = """One process and {batch} pictures a step. torchvision's reference loop (references/classification/train.py) \
is fp32, eager, contiguous; ImageFolder, Pillow, one worker that decodes. Same JPEG bytes in the same order, same \
first weights, learning rate, momentum and decay; crops and flips are of each side's own chance. "Apart" is the \
largest difference of the loss, as a mean of {smoothed} steps, over the first's: between `ours, fp32` and ours only \
the engine differs, all else is the same to the bit."""

_RANKS = """Two processes with one thread each and {batch} pictures a step and rank, bf16 and channels-last all. The \
bare loop with DistributedDataParallel (gloo) has one batch in memory and does nothing else; ours reads, decodes, \
agrees on the loss and writes its journal."""

_OVERHEAD = """A step of train.py and a bare one (forward, loss, backward, optimizer; a batch in memory) of the same \
model in the same process, by turns: {pairs} pairs. The overhead is the median of the ratios, with the quartiles."""


def to_markdown(
    parts: Mapping[str, Any], sizes: Mapping[str, Mapping[str, int]], machine: Mapping[str, str], day: str
) -> str:
    told = [f"# Training, {day}", _METHOD, "\n".join(f"- {name}: {value}" for name, value in machine.items())]
    goals = [(goal.what, goal.found, "yes" if goal.met else "NO") for goal in goals_of(parts)]
    told += ["## Goals", _table(("goal", "found", "met"), goals)]
    if "alone" in parts:
        batch = sizes["alone"]["batch"]
        note = _ALONE.format(batch=batch, smoothed=SMOOTHED)
        told += ["## One process", note, _loops(parts["alone"], batch, FP32), f"![loss](training-{day}.png)"]
    if "ranks" in parts:
        batch = sizes["ranks"]["batch"]
        told += ["## Two processes", _RANKS.format(batch=batch), _loops(parts["ranks"], 2 * batch)]
    if "overhead" in parts:
        pairs = counted(parts["overhead"]["pairs"])
        told += ["## Overhead", _OVERHEAD.format(pairs=len(pairs)), _pairs(pairs)]
    return "\n\n".join(told) + "\n"


def goals_of(parts: Mapping[str, Any]) -> list[Goal]:
    """What was wanted, of the parts that are there."""
    goals = []
    if alone := parts.get("alone"):
        ratio = step_s(alone[PEER]) / step_s(alone[ALONE])
        what = f"at least {LEAST_RATIO}x the images/s of torchvision's reference loop"
        goals.append(Goal(what, f"{ratio:.2f}x", ratio >= LEAST_RATIO))
        off = apart(alone[ALONE], alone[PEER])
        what = f"loss within {BAND:.0%} of its (means of {SMOOTHED} steps)"
        goals.append(Goal(what, f"at most {off:.1%} apart", off <= BAND))
        share = waiting(alone[ALONE])
        goals.append(Goal(f"waiting for data under {MOST_WAITING:.0%}", f"{share:.2%}", share < MOST_WAITING))
    if ranks := parts.get("ranks"):
        slower = step_s(ranks[HOROVOD]) / step_s(ranks[DDP]) - 1
        what = f"Horovod on 2 ranks within {MOST_SLOWER:.0%} of torch's DDP"
        goals.append(Goal(what, f"a step takes {slower:+.1%}", slower <= MOST_SLOWER))
    if overhead := parts.get("overhead"):
        share = quartiles(counted(overhead["pairs"]))[1]
        what = f"overhead over forward and backward under {MOST_OVERHEAD:.0%}"
        goals.append(Goal(what, f"{share:.2%}", share < MOST_OVERHEAD))
    return goals


def counted(steps: Steps) -> Steps:
    return [step for step in steps if not step["warm"]]


def step_s(steps: Steps) -> float:
    """The median step."""
    return median(step["step_s"] for step in counted(steps))


def waiting(steps: Steps) -> float:
    """Share of the time that was spent waiting for batches."""
    some = counted(steps)
    return sum(step["waited_s"] for step in some) / sum(step["step_s"] for step in some)


def smoothed(steps: Steps) -> list[float]:
    """The mean loss of each SMOOTHED steps in a row."""
    losses = [step["loss"] for step in steps]
    return [mean(losses[end - SMOOTHED : end]) for end in range(SMOOTHED, len(losses) + 1)]


def apart(steps: Steps, others: Steps) -> float:
    """The largest difference of the smoothed losses, of that of `others`."""
    return max(abs(mine / other - 1) for mine, other in zip(smoothed(steps), smoothed(others), strict=True))


def quartiles(pairs: Steps) -> tuple[float, float, float]:
    """Of how much longer a step of ours takes than the bare one that follows it."""
    shares = sorted(pair["ours_s"] / pair["bare_s"] - 1 for pair in pairs)
    return shares[len(shares) // 4], median(shares), shares[-1 - len(shares) // 4]


def draw(alone: Mapping[str, Steps]) -> Figure:
    """Loss over steps."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, steps), style in zip(alone.items(), ("C0-", "C1-", "C2:"), strict=True):
        axes.plot(range(1, len(steps) + 1), [step["loss"] for step in steps], style, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, sum over classes")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def _loops(loops: Mapping[str, Steps], images: int, beside: str = "") -> str:
    """`images` of a step, of all ranks; `beside`: whose losses ours are compared with, besides the first's."""
    first, *_ = loops.values()
    rows = []
    for name, steps in loops.items():
        took = sorted(step["step_s"] for step in counted(steps))
        row = [name, f"{images / step_s(steps):.2f}", f"{step_s(steps):.3f}", f"{took[0]:.3f} to {took[-1]:.3f}"]
        row += [f"{step_s(first) / step_s(steps):.2f}", f"{waiting(steps):.2%}" if name.startswith("ours") else ""]
        if beside:
            row += [f"{steps[-1]['loss']:.1f}", f"{apart(steps, first):.1%}", f"{apart(steps, loops[beside]):.1%}"]
        rows.append(row)
    head = ["loop", "images/s", "median step, s", "all steps, s", "times the first", "waiting for data"]
    return _table(head + (["last loss", "apart", f"apart from {beside}"] if beside else []), rows)


def _pairs(pairs: Steps) -> str:
    low, middle, high = quartiles(pairs)
    bare = median(pair["bare_s"] for pair in pairs)
    ours = median(pair["ours_s"] for pair in pairs)
    share = sum(pair["waited_s"] for pair in pairs) / sum(pair["ours_s"] for pair in pairs)
    head = ("bare step, s", "step of train.py, s", "overhead", "quartiles", "waiting for data")
    return _table(head, [(f"{bare:.3f}", f"{ours:.3f}", f"{middle:.2%}", f"{low:.2%} to {high:.2%}", f"{share:.2%}")])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
