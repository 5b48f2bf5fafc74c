"""(class, ancestor) pairs for the peers, read without the code that they are compared with."""

from pathlib import Path


def read_pairs(vocabulary: str) -> tuple[list[int], list[int]]:
    """Classes and their ancestors, itself included, pair by pair, from the published dictionary file.

    Four columns separated by tabs, with a header: class, id, the one parent (-1 for a root), names.
    """
    lines = Path(vocabulary).read_text(encoding="utf-8").splitlines()[1:]
    parents = [int(line.split("\t")[2]) for line in lines]
    classes, ancestors = [], []
    for number in range(len(parents)):
        above = number
        while above >= 0:
            classes.append(number)
            ancestors.append(above)
            above = parents[above]
    return classes, ancestors
