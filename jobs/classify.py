"""What a trained network sees on single pictures, by name and score.

Examples:
  ml-images classify checkpoint=out/train/checkpoints/best.safetensors photos/*.jpg
  ml-images classify checkpoint=C vocabulary=out/annotate/vocabulary top=10 above=0.5 a.jpg b.png
  ml-images classify checkpoint=C format=original a.jpg > label_pred.txt

Words that are neither key=value nor end in .yaml are pictures, in any format that the download takes; write a file
whose name holds '=' as ./name. Exit code 3 when a picture could not be read; the others are classified all the same.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from ml_images import config, entry
from ml_images.errors import InputError
from ml_images.options import option
from ml_images.train.apply import TopConfig, best_classes, probabilities
from ml_images.train.class_names import find_names, numbers_for_names
from ml_images.train.least_scores import least_scores
from ml_images.train.picture_model import PictureModel
from ml_images.train.trained import choose_device, load_trained

_AT_ONCE = 32  # pictures that the network gets
_OPTION = re.compile(r"[a-z_.]+=|-|.*\.ya?ml$|help$")


@dataclass(frozen=True, kw_only=True)
class Job(TopConfig):
    checkpoint: str = option(help="a file that train.py wrote, e.g. RUN/checkpoints/best.safetensors")
    top: int = option(5, "classes of a picture that are told, those with the highest scores; 0: all of them")
    vocabulary: str = option("", "table of jobs/annotate.py or file with the classes' names; default: the checkpoint's")
    format: Literal["names", "original"] = option("names", "names: score, name and class; original: as ML-Images' tool")


def main(argv: Sequence[str]) -> int:
    words = [word for word in argv if _OPTION.match(word)]
    files = [Path(word) for word in argv if not _OPTION.match(word)]
    job = config.load(Job, words, program="classify.py", doc=__doc__)
    if not files:
        raise InputError("no picture was given; name files after the options, e.g. photos/*.jpg")
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise InputError(f"picture '{missing[0]}' is no file")
    trained = load_trained(Path(job.checkpoint))
    names = find_names(job.vocabulary, trained)
    if names is None:
        print("the checkpoint has no names of classes; vocabulary=... would tell them", file=sys.stderr)
        names = numbers_for_names(trained.num_classes)
    least = least_scores(job.above, job.thresholds, trained)
    model = PictureModel(trained, choose_device(), crops=job.crops, verify=True)
    lost, waiting = 0, iter(files)
    while some := list(islice(waiting, _AT_ONCE)):
        seen = model.logits([file.read_bytes() for file in some])
        offsets, classes, scores = best_classes(probabilities(seen.values, trained), job.top, least)
        number = 0
        for place, file in enumerate(some):
            if seen.outcomes[place] != "ok":
                print(f"{file}: {seen.outcomes[place]}: {seen.details[place]}", file=sys.stderr)
                lost += 1
                continue
            told = slice(offsets[number], offsets[number + 1])
            number += 1
            found = list(zip(classes[told].tolist(), scores[told].tolist(), strict=True))
            for line in _lines(str(file), found, names, job.format):
                print(line)
    model.close()
    return entry.TOO_MUCH_LOST if lost else entry.DONE


def _lines(file: str, found: list[tuple[int, float]], names: Sequence[str], format: str) -> Iterator[str]:
    """What is printed about a picture; `original` as specs 1.8 have it, but with whole names."""
    if format == "original":
        yield f"+++ the predictions of {file} is:"
        yield from (f"{number} {names[number]}: {score:.3f}" for number, score in found)
    else:
        yield f"{file}:"
        yield from (f"  {score:.3f}  {names[number]} ({number})" for number, score in found)


if __name__ == "__main__":
    entry.run(main)
