"""The score that a class needs to be told of a picture: one for all classes, or one of its own."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml_images.errors import InputError
from ml_images.storage import tables
from ml_images.storage.paths import resolve
from ml_images.train.trained import Trained

_EXPECTED = "expected the table per_class of jobs/evaluate.py or a Parquet file with columns class and threshold"


def least_scores(above: float, thresholds: str, trained: Trained) -> NDArray[np.float32]:
    """float32 (classes,): the least score with which each class is kept. above: what every class has to exceed that has
    no threshold; thresholds: where those are told, "" for none.

    Raises InputError for thresholds that cannot be read or be meant: of classes that the network does not have, of
    scores that do not exist, several for one class.
    """
    over = np.nextafter(np.float32(above), np.float32(1)) if above else np.float32(0)
    least = np.full(trained.num_classes, over, np.float32)
    if not thresholds:
        return least
    told = _read(thresholds, trained.image_size)
    classes, scores = told["class"].to_numpy(), told["threshold"].to_numpy()
    last = trained.num_classes - 1
    for wrong, what in (
        ((classes < 0) | (classes >= trained.num_classes), f"the network has the classes 0 to {last}"),
        (~((scores >= 0) & (scores <= 1)), "scores are from 0 to 1"),
    ):
        if wrong.any():
            number = int(np.flatnonzero(wrong)[0])
            raise InputError(f"thresholds: '{thresholds}' has {scores[number]:g} for class {classes[number]}, {what}")
    numbers, times = np.unique(classes, return_counts=True)
    if (times > 1).any():
        raise InputError(
            f"thresholds: '{thresholds}' has {times.max()} rows of class {numbers[times.argmax()]}, one is expected"
        )
    least[classes] = scores
    return least


def _read(given: str, image_size: int) -> pa.Table:
    """Columns class, int64, and threshold, float32, of the classes that have one. Where pictures of several sizes were
    evaluated, those of the size that the network is shown count."""
    location = resolve(given)
    try:
        if location.endswith(".parquet"):
            table = tables.read_part(location)
        else:
            table = tables.read_table(location, "per_class")
        missing = {"class", "threshold"} - set(table.schema.names)
        if missing:
            raise InputError(f"thresholds: '{given}' has no column {' or '.join(sorted(missing))}; {_EXPECTED}")
        if "image_size" in table.schema.names:
            sizes = pc.unique(table["image_size"]).to_pylist()
            table = table.filter(pc.equal(table["image_size"], image_size))
            if not len(table):
                raise InputError(
                    f"thresholds: '{given}' is of pictures of {', '.join(map(str, sizes))} pixels, the network is "
                    f"shown {image_size}: evaluate it with image_sizes=[{image_size}]"
                )
        told = pa.table({"class": table["class"].cast("int64"), "threshold": table["threshold"].cast("float32")})
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"thresholds: '{given}' cannot be read: {' '.join(str(error).split())}; {_EXPECTED}"
        ) from error
    told = told.filter(pc.is_valid(told["threshold"]))
    if told["class"].null_count:
        raise InputError(f"thresholds: '{given}' has a threshold without a class; {_EXPECTED}")
    return told
