"""`ml-images <job> ...` runs the same main as `spark-submit jobs/<job>.py ...`; also the sample world."""

import importlib
from collections.abc import Sequence

from ml_images import entry
from ml_images.errors import InputError

JOBS = (
    "annotate",
    "cooccur",
    "augment",
    "download",
    "extract",
    "materialize",
    "verify",
    "export",
    "ingest",
    "describe",
    "predict",
    "features",
)
COMMANDS = (*JOBS, "evaluate", "classify", "sample")

USAGE = """usage: ml-images <command> [file.yaml ...] [key=value ...]

  annotate      annotation lists and a hierarchy -> labels, rejects, vocabulary
  cooccur       labels (and predictions) -> how often classes meet, strong pairs
  augment       strong pairs -> labels with the classes that they imply
  download      labels -> images, every key with its outcome
  extract       archives and labels -> images, the same for keys that are members of archives
  materialize   labels and images -> the data set for training
  verify        a data set -> whether every file is as it was written
  export        a data set -> TFRecords, WebDataset tars or an ImageFolder
  ingest        those of anybody -> labels, images, vocabulary
  describe      all of it -> report.html and report.json
  evaluate      a checkpoint and a data set -> average precision of every class, top-1, top-5
  predict       a checkpoint and pictures -> the best classes of each, with scores
  features      a checkpoint and pictures -> what the network gives its head
  classify      a checkpoint and picture files -> names and scores on the console
  sample        write or serve a miniature world to try the chain on; write lists of any size

`ml-images <command> --help` shows the options of a command, with examples.
Training: horovodrun -np 2 python train.py conf/train/<experiment>.yaml [key=value ...]"""


def main() -> None:
    """The console script."""
    entry.run(_dispatch, program="ml-images")


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
        return entry.DONE if argv else entry.WRONG_INPUT
    command, rest = argv[0], argv[1:]
    if command not in COMMANDS:
        raise InputError(f"unknown command '{command}'; accepted: {', '.join(COMMANDS)}")
    module = "ml_images.sample.command" if command == "sample" else f"ml_images.jobs.{command}"
    return int(importlib.import_module(module).main(rest))
