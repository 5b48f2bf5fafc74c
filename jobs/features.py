"""Features of pictures: what a trained network gives its head, 2048 numbers for a ResNet-101, as a table.

Examples:
  spark-submit jobs/features.py pictures=out/download/images checkpoint=best.safetensors output=out/features
  ml-images features pictures=out/materialize/dataset split=val checkpoint=C output=O

Every key is in the table outcomes, a key whose picture could be read in the table features, too. For FAISS and the
like the column is one matrix, without a copy:
  column = pyarrow.parquet.read_table("out/features/features")["features"].combine_chunks()
  matrix = column.values.to_numpy().reshape(len(column), -1); index.add(matrix)

Executors need the packages of training (pip install ml-images[train]); a GPU is taken where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_images import config, entry, schemas
from ml_images.options import option
from ml_images.report.job import JobReport
from ml_images.spark import session
from ml_images.spark.apply_model import ApplyConfig, apply_model, find_pictures
from ml_images.storage import tables
from ml_images.storage.lock import locked
from ml_images.storage.paths import join, resolve
from ml_images.storage.s3 import spark_settings
from ml_images.train.apply import extract_features
from ml_images.train.trained import load_trained


@dataclass(frozen=True, kw_only=True)
class Job(ApplyConfig):
    output: str = option(help="folder for the tables features and outcomes, and report.json")
    max_loss: float = option(0.1, "share of the pictures that may prove unreadable before the exit code is 3")

    def __post_init__(self) -> None:
        super().__post_init__()
        entry.check_max_loss(self.max_loss)


def main(argv: Sequence[str]) -> int:
    job = config.load(Job, argv, program="features.py", doc=__doc__)
    location, output, checkpoint = resolve(job.pictures), resolve(job.output), Path(job.checkpoint)
    pictures = find_pictures(location, job.split)
    trained = load_trained(checkpoint)
    tables.claim(output, "features")
    report = JobReport("features", output, config.to_dict(job))
    made = join(output, "features"), join(output, "outcomes")
    with locked(made[0]):
        for place in made:
            tables.claim(place, place.rpartition("/")[2])
        with session.opened("features", spark_settings(location, output) | job.spark, light=True) as spark:
            schema = schemas.features(trained.num_features)
            asked = config.to_dict(job)
            done = apply_model(spark, pictures, checkpoint, extract_features, schema, made, job.batch_size, asked)
        tables.publish(*made)
    report.counts["keys by outcome"] = dict(done.outcomes.most_common())
    report.finish(step=trained.step, mean_of_weights=trained.is_mean, features=trained.num_features)
    return entry.TOO_MUCH_LOST if done.lost > job.max_loss * done.pictures else entry.DONE


if __name__ == "__main__":
    entry.run(main)
