"""The training part of a report, from the history that train.py writes in its output folder."""

import json

from ml_images.errors import InputError
from ml_images.report.contents import Training, TrainingPoint
from ml_images.storage.paths import join, read_bytes


def read_training(folder: str) -> Training:
    """Loss and validation mAP after each epoch. Raises InputError when the folder holds no history of a run."""
    location = join(folder, "history.jsonl")
    lines = read_bytes(location, "training history").decode("utf-8").splitlines()
    points, prior = [], None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            evaluated = record.get("validation") or {}
            points.append(TrainingPoint(record["step"], record["loss"], evaluated.get("mean_average_precision")))
        except (ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{location}:{number} is not a line that train.py wrote") from error
        prior = evaluated.get("prior", prior)
    return Training(tuple(points), prior)
