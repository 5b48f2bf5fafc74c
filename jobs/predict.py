"""What a trained network sees on pictures: the best classes of each with their scores, sparse, as a table.

Examples:
  spark-submit jobs/predict.py pictures=out/download/images checkpoint=best.safetensors output=out/predict
  ml-images predict pictures=out/materialize/dataset split=val checkpoint=C output=O top=10 names=true
  ml-images predict pictures=I checkpoint=C output=O top=0 above=0.95
  ml-images predict pictures=I checkpoint=C output=O top=0 thresholds=out/evaluate/per_class
  ml-images cooccur annotations=out/annotate predictions=O/predictions output=out/cooccur

Every key is in the table outcomes, a key whose picture could be read in the table predictions, too. Executors need the
packages of training (pip install ml-images[train]); a GPU is taken where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml_images import config, entry
from ml_images.errors import InputError
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.apply_model import ApplyConfig, apply_model, find_pictures
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings
from ml_images.train.apply import TopConfig, predict, predictions_schema
from ml_images.train.class_names import find_names
from ml_images.train.least_scores import least_scores
from ml_images.train.trained import load_trained


@dataclass(frozen=True, kw_only=True)
class Job(TopConfig, ApplyConfig):
    output: str = option(help="folder for the tables predictions and outcomes, and report.json")
    names: bool = option(False, "a column with the classes' names, too")
    vocabulary: str = option("", "table of jobs/annotate.py or file with the classes' names; default: the checkpoint's")
    max_loss: float = option(0.1, "share of the pictures that may prove unreadable before the exit code is 3")

    def __post_init__(self) -> None:
        TopConfig.__post_init__(self)
        ApplyConfig.__post_init__(self)
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="predict.py", doc=__doc__)
    location, output, checkpoint = resolve(job.pictures), resolve(job.output), Path(job.checkpoint)
    pictures = find_pictures(location, job.split)
    trained = load_trained(checkpoint)
    names: tuple[str, ...] = ()
    if job.names:
        found = find_names(job.vocabulary, trained)
        if found is None:
            raise InputError("names=true, but the checkpoint has no names of classes: give vocabulary=...")
        names = found
    least = least_scores(job.above, job.thresholds, trained)
    tables.claim(output, "predict")
    report = JobReport("predict", output, config.to_dict(job))
    made = join(output, "predictions"), join(output, "outcomes")
    with locked(made[0]):
        for place in made:
            tables.claim(place, place.rpartition("/")[2])
        with session.opened("predict", spark_settings(location, output) | job.spark, light=True) as spark:
            done = apply_model(
                spark,
                pictures,
                checkpoint,
                partial(predict, job.top, job.crops, least, names),
                predictions_schema(job.names),
                made,
                job.batch_size,
                config.to_dict(job) | {"names": names, "thresholds": least.tolist()},
            )
        tables.publish(*made)
    report.counts["keys by outcome"] = dict(done.outcomes.most_common())
    report.finish(step=trained.step, mean_of_weights=trained.is_mean, classes=trained.num_classes)
    return entry.TOO_MUCH_LOST if done.lost > job.max_loss * done.pictures else entry.DONE


if __name__ == "__main__":
    entry.run(main)
